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

test('dates and allowed operations are kept and obeyed', async () => {
  const keys = client();
  const name = `dates-${process.pid}`;
  const from = new Date(Date.UTC(2020, 0, 1)), until = new Date(Date.UTC(2021, 0, 1));
  const key = await keys.createRsaKey(name, { keySize: 3072, notBefore: from, expiresOn: until, keyOps: ['wrapKey', 'unwrapKey'] });
  assert.deepEqual([key.properties.notBefore, key.properties.expiresOn], [from, until]);
  assert.deepEqual(key.keyOperations, ['wrapKey', 'unwrapKey']);
  assert.equal(key.properties.recoveryLevel, 'Recoverable');
  assert.equal(Buffer.from(key.key.n).length, 384);
  // The client looks at the dates itself where it has the key; the service refuses too.
  await assert.rejects(new CryptographyClient(key.id, credential()).wrapKey('RSA-OAEP-256', Buffer.alloc(32, 1)));
  const later = new Date(Date.UTC(2037, 0, 1)); // updateKeyProperties() of this SDK cuts seconds to 32 bits
  await keys.updateKeyProperties(name, { expiresOn: later });
  assert.deepEqual((await keys.getKey(name)).properties.expiresOn, later);
  const crypto = new CryptographyClient(key.id, credential());
  const { result } = await crypto.wrapKey('RSA-OAEP-256', Buffer.alloc(32, 1));
  assert.deepEqual(Buffer.from((await crypto.unwrapKey('RSA-OAEP-256', result)).result), Buffer.alloc(32, 1));
  await assert.rejects(crypto.decrypt({ algorithm: 'RSA-OAEP-256', ciphertext: result }), /decrypt is not supported/);
});

for (const algorithm of ['RSA-OAEP', 'RSA-OAEP-256', 'RSA1_5']) {
  test(`what the client encrypts with ${algorithm} the vault decrypts`, async () => {
    const key = await client().createRsaKey(`enc-${algorithm.replace(/_/g, '-')}-${process.pid}`, { keySize: 2048 });
    const crypto = new CryptographyClient(key.id, credential());
    const plaintext = Buffer.from('words');
    const { result } = await crypto.encrypt({ algorithm, plaintext });
    assert.deepEqual(Buffer.from((await crypto.decrypt({ algorithm, ciphertext: result })).result), plaintext);
  });
}

test('keys are listed page by page', async () => {
  const keys = client();
  const mine = Array.from({ length: 4 }, (_, i) => `page-${process.pid}-${i}`);
  for (const name of mine) await keys.createRsaKey(name, { keySize: 2048 });
  const names = [];
  let pages = 0;
  for await (const page of keys.listPropertiesOfKeys().byPage({ maxPageSize: 2 })) {
    pages += 1;
    assert.ok(page.length <= 2);
    names.push(...page.map((p) => p.name));
  }
  assert.equal(new Set(names).size, names.length);
  assert.deepEqual(names.filter((n) => mine.includes(n)), mine);
  assert.ok(pages >= 3);
});

test('the App Service endpoint gives its identity and no more', async () => {
  // The SDK picks its source once for a process: the request is made as it would make it.
  const ask = (query, headers) => fetch(`${process.env.APP_SERVICE_ENDPOINT}?api-version=2019-08-01&${query}`, { headers });
  const secret = { 'X-IDENTITY-HEADER': process.env.APP_SERVICE_SECRET };
  const token = await (await ask('resource=https%3A%2F%2Fvault.localhost', secret)).json();
  assert.equal(token.token_type, 'Bearer');
  const claims = JSON.parse(Buffer.from(token.access_token.split('.')[1], 'base64url'));
  assert.equal(claims.appid, process.env.NODE_CLIENT_ID);
  assert.equal(claims.aud, 'https://vault.localhost');
  assert.equal((await ask(`resource=https%3A%2F%2Fvault.localhost&client_id=${process.env.CLIENT_ID}`, secret)).status, 400);
  const limited = new KeyClient(process.env.VAULT_URL, { getToken: async () => ({ token: token.access_token, expiresOnTimestamp: token.expires_on * 1000 }) });
  await assert.rejects(limited.createRsaKey('not-allowed'), (e) => e.statusCode === 403 && e.code === 'Forbidden');
});

test('a deleted key is gone until it is recovered, and cannot be purged', async () => {
  const keys = client();
  const name = `deleted-${process.pid}`;
  const key = await keys.createRsaKey(name, { keySize: 2048 });
  const poller = await keys.beginDeleteKey(name);
  const deleted = await poller.pollUntilDone();
  assert.equal(deleted.name, name);
  assert.ok(deleted.properties.scheduledPurgeDate > deleted.properties.deletedOn);
  await assert.rejects(keys.getKey(name), (e) => e.code === 'KeyNotFound');
  await assert.rejects(keys.createRsaKey(name), (e) => e.statusCode === 409);
  await assert.rejects(keys.purgeDeletedKey(name), (e) => e.statusCode === 403);
  const listed = [];
  for await (const d of keys.listDeletedKeys()) listed.push(d.name);
  assert.ok(listed.includes(name));
  const recovered = await (await keys.beginRecoverDeletedKey(name)).pollUntilDone();
  assert.equal(recovered.properties.version, key.properties.version);
  assert.equal((await keys.getKey(name)).properties.enabled, true);
});
