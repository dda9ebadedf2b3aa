// Every way in which @azure/identity gets a token, as a user would write it, against the embedded token service; started by
// test_vault_identity.py. Which managed identity source is taken is remembered for the whole process: each of those has one of its own.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const { ClientCertificateCredential, ClientSecretCredential, DefaultAzureCredential, ManagedIdentityCredential, WorkloadIdentityCredential } =
  require('@azure/identity');
const { CryptographyClient, KeyClient } = require('@azure/keyvault-keys');

const e = process.env;
const hosted = { authorityHost: e.AUTHORITY, disableInstanceDiscovery: true };

async function use(credential) {
  const key = await new KeyClient(e.VAULT_URL, credential).getKey('data');
  const crypto = new CryptographyClient(key.id, credential);
  const wrapped = await crypto.wrapKey('RSA-OAEP-256', Buffer.alloc(32, 7));
  assert.deepEqual(Buffer.from((await crypto.unwrapKey('RSA-OAEP-256', wrapped.result)).result), Buffer.alloc(32, 7));
}

// The sources, told apart by the environment alone.
const managed = {
  'imds by client id': [{ AZURE_POD_IDENTITY_AUTHORITY_HOST: e.IMDS }, () => new ManagedIdentityCredential({ clientId: e.NODE_CLIENT_ID })],
  'imds by resource id': [{ AZURE_POD_IDENTITY_AUTHORITY_HOST: e.IMDS }, () => new ManagedIdentityCredential({ resourceId: e.NODE_RESOURCE_ID })],
  'imds by object id': [{ AZURE_POD_IDENTITY_AUTHORITY_HOST: e.IMDS }, () => new ManagedIdentityCredential({ objectId: e.NODE_OBJECT_ID })],
  'app service': [{ IDENTITY_ENDPOINT: e.APP_SERVICE_ENDPOINT, IDENTITY_HEADER: e.APP_SERVICE_HEADER },
    () => new ManagedIdentityCredential({ clientId: e.NODE_CLIENT_ID })],
  'token exchange': [{ AZURE_FEDERATED_TOKEN_FILE: e.FEDERATED_FILE, AZURE_TENANT_ID: e.TENANT, AZURE_CLIENT_ID: e.NODE_CLIENT_ID,
    AZURE_AUTHORITY_HOST: e.AUTHORITY }, () => new ManagedIdentityCredential({ clientId: e.NODE_CLIENT_ID })],
  'default credential': [{ AZURE_FEDERATED_TOKEN_FILE: e.FEDERATED_FILE, AZURE_TENANT_ID: e.TENANT, AZURE_CLIENT_ID: e.NODE_CLIENT_ID,
    AZURE_AUTHORITY_HOST: e.AUTHORITY, AZURE_TOKEN_CREDENTIALS: 'ManagedIdentityCredential' }, () => new DefaultAzureCredential()],
};

if (e.MANAGED_SOURCE) {
  await use(managed[e.MANAGED_SOURCE][1]());
  console.log('used');
} else {
  test('client secret', () => use(new ClientSecretCredential(e.TENANT, e.APP_CLIENT_ID, e.APP_SECRET, hosted)));

  test('client certificate', () => use(new ClientCertificateCredential(e.TENANT, e.APP_CLIENT_ID, { certificatePath: e.APP_CERTIFICATE }, hosted)));

  test('workload identity', () => use(new WorkloadIdentityCredential({
    tenantId: e.TENANT, clientId: e.NODE_CLIENT_ID, tokenFilePath: e.FEDERATED_FILE, ...hosted })));

  test('a guessed secret', () => assert.rejects(use(new ClientSecretCredential(e.TENANT, e.APP_CLIENT_ID, 'guess', hosted)), /AADSTS7000215/));

  test('an application that is not there', () => assert.rejects(
    use(new ClientSecretCredential(e.TENANT, '11111111-2222-3333-4444-555555555555', 'guess', hosted)), /AADSTS700016/));

  for (const name of Object.keys(managed)) {
    test(`managed identity: ${name}`, () => {
      const done = spawnSync(process.execPath, [import.meta.filename], { env: { ...e, NODE_TEST_CONTEXT: undefined, MANAGED_SOURCE: name, ...managed[name][0] } });
      assert.equal(done.stdout.toString().trim(), 'used', done.stderr.toString());
    });
  }
}
