// The official Azure SDK, as a user would write it, against the embedded vault; started by test_node_driver.py.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const { ManagedIdentityCredential } = require('@azure/identity');
const { CryptographyClient, KeyClient } = require('@azure/keyvault-keys');

const credential = () => new ManagedIdentityCredential({ clientId: process.env.CLIENT_ID });
const client = () => new KeyClient(process.env.VAULT_URL, credential());

test('create, wrap, disable, enable, unwrap', async () => {
  const keys = client();
  const name = `sdk-${process.pid}`;
  const key = await keys.createRsaKey(name, { keySize: 2048, tags: { made: 'by a test' } });
  assert.equal(key.keyType, 'RSA');
  assert.equal(key.properties.enabled, true);
  assert.deepEqual((await keys.getKey(name)).properties.tags, { made: 'by a test' });

  const secret = Buffer.from('0123456789abcdef0123456789abcdef');
  // The SDK may encrypt with the public key by itself; unwrapping always asks the vault.
  const crypto = new CryptographyClient(key.id, credential());
  const wrapped = await crypto.wrapKey('RSA-OAEP-256', secret);
  assert.deepEqual(Buffer.from((await crypto.unwrapKey('RSA-OAEP-256', wrapped.result)).result), secret);

  await keys.updateKeyProperties(name, key.properties.version, { enabled: false });
  await assert.rejects(crypto.unwrapKey('RSA-OAEP-256', wrapped.result), (e) => e.statusCode === 403);
  await keys.updateKeyProperties(name, key.properties.version, { enabled: true });
  assert.deepEqual(Buffer.from((await crypto.unwrapKey('RSA-OAEP-256', wrapped.result)).result), secret);
});

test('versions are listed and each keeps its own state', async () => {
  const keys = client();
  const name = `versions-${process.pid}`;
  const first = await keys.createRsaKey(name, { keySize: 2048 });
  const second = await keys.createRsaKey(name, { keySize: 2048 });
  await keys.updateKeyProperties(name, first.properties.version, { enabled: false });
  const listed = new Map();
  for await (const p of keys.listPropertiesOfKeyVersions(name)) listed.set(p.version, p.enabled);
  assert.deepEqual(listed, new Map([[first.properties.version, false], [second.properties.version, true]]));
  assert.equal((await keys.getKey(name)).properties.version, second.properties.version);
});

test('a key that is not there', async () => {
  await assert.rejects(client().getKey('never-made'), (e) => e.statusCode === 404 && e.code === 'KeyNotFound');
});
