// Tokens that are taken back while clients hold them: what was signed by a compromised key. Started by test_vault_identity.py.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const { ClientCertificateCredential, ClientSecretCredential } = require('@azure/identity');
const { CryptographyClient, KeyClient } = require('@azure/keyvault-keys');

const e = process.env;
const hosted = { authorityHost: e.AUTHORITY, disableInstanceDiscovery: true };

async function goOn(credential) {
  const keys = new KeyClient(e.VAULT_URL, credential);
  const key = await keys.getKey('data');
  const [program, ...args] = e.ROTATE.split(' ');
  execFileSync(program, args);
  assert.equal((await keys.getKey('data')).id, key.id);
  const crypto = new CryptographyClient(key.id, credential);
  const wrapped = await crypto.wrapKey('RSA-OAEP-256', Buffer.alloc(32, 7));
  assert.deepEqual(Buffer.from((await crypto.unwrapKey('RSA-OAEP-256', wrapped.result)).result), Buffer.alloc(32, 7));
}

test('client secret', () => goOn(new ClientSecretCredential(e.TENANT, e.APP_CLIENT_ID, e.APP_SECRET, hosted)));

test('client certificate', () => goOn(new ClientCertificateCredential(e.TENANT, e.APP_CLIENT_ID, { certificatePath: e.APP_CERTIFICATE }, hosted)));
