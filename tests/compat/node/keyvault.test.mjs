// The official Azure SDK, as a user would write it, against the embedded vault; started by test_node_driver.py.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { constants, createHash, createPublicKey, generateKeyPairSync, verify } from 'node:crypto';
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

const curves = { 'P-256': ['ES256', 'sha256'], 'P-384': ['ES384', 'sha384'], 'P-521': ['ES512', 'sha512'], 'P-256K': ['ES256K', 'sha256'] };
for (const [curve, [algorithm, hash]] of Object.entries(curves)) {
  test(`a key on ${curve} signs with ${algorithm} and verifies`, async () => {
    const key = await client().createEcKey(`ec-${curve}-${process.pid}`, { curve });
    assert.equal(key.key.crv, curve);
    const crypto = new CryptographyClient(key.id, credential());
    const digest = createHash(hash).update('words').digest();
    const { result } = await crypto.sign(algorithm, digest);
    assert.equal((await crypto.verify(algorithm, digest, result)).result, true);
    assert.equal((await crypto.verify(algorithm, createHash(hash).update('others').digest(), result)).result, false);
    // And anybody else with the public key.
    if (curve !== 'P-256K') {
      const jwk = { kty: 'EC', crv: curve, x: Buffer.from(key.key.x).toString('base64url'), y: Buffer.from(key.key.y).toString('base64url') };
      const signed = Buffer.from((await crypto.signData(algorithm, Buffer.from('words'))).result);
      assert.ok(verify(hash, Buffer.from('words'), { key: createPublicKey({ key: jwk, format: 'jwk' }), dsaEncoding: 'ieee-p1363' }, signed));
    }
  });
}

test('an RSA key signs with every RSA algorithm', async () => {
  const key = await client().createRsaKey(`signer-${process.pid}`, { keySize: 2048 });
  const crypto = new CryptographyClient(key.id, credential());
  for (const algorithm of ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512']) {
    const digest = createHash(`sha${algorithm.slice(2)}`).update('words').digest();
    const { result } = await crypto.sign(algorithm, digest);
    assert.equal((await crypto.verify(algorithm, digest, result)).result, true);
    // And anybody else with the public key. (The SDK's own verifyData() takes PS256 for RS256.)
    const jwk = { kty: 'RSA', n: Buffer.from(key.key.n).toString('base64url'), e: Buffer.from(key.key.e).toString('base64url') };
    const padding = algorithm[0] === 'P' ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST } : {};
    const check = (words) => verify(`sha${algorithm.slice(2)}`, Buffer.from(words), { key: createPublicKey({ key: jwk, format: 'jwk' }), ...padding }, Buffer.from(result));
    assert.deepEqual([check('words'), check('others')], [true, false]);
  }
  await assert.rejects(crypto.sign('ES256', Buffer.alloc(32)), (e) => e.statusCode === 400 && e.code === 'BadParameter');
});

test('an imported key is the same key', async () => {
  const mine = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const jwk = mine.privateKey.export({ format: 'jwk' });
  const bytes = Object.fromEntries(['n', 'e', 'd', 'p', 'q', 'dp', 'dq', 'qi'].map((m) => [m, Buffer.from(jwk[m], 'base64url')]));
  const key = await client().importKey(`brought-${process.pid}`, { kty: 'RSA', keyOps: ['sign', 'verify'], ...bytes }, { tags: { from: 'outside' } });
  assert.deepEqual([key.keyOperations, key.properties.tags, key.key.d], [['sign', 'verify'], { from: 'outside' }, undefined]);
  const { result } = await new CryptographyClient(key.id, credential()).signData('RS256', Buffer.from('words'));
  assert.ok(verify('sha256', Buffer.from('words'), mine.publicKey, Buffer.from(result)));
});

test('who may use a key and not read it names no version', async () => {
  const owner = new KeyClient(process.env.SECOND_URL, credential());
  const name = `unread-${process.pid}`;
  const key = await owner.createRsaKey(name);
  await owner.createEcKey(`${name}-ec`);
  const limited = new ManagedIdentityCredential({ clientId: process.env.NODE_CLIENT_ID });
  await assert.rejects(new KeyClient(process.env.SECOND_URL, limited).getKey(name), (e) => e.statusCode === 403);
  const crypto = new CryptographyClient(`${process.env.SECOND_URL}/keys/${name}`, limited);
  const wrapped = await crypto.wrapKey('RSA-OAEP-256', Buffer.alloc(32, 3));
  assert.deepEqual(Buffer.from((await crypto.unwrapKey('RSA-OAEP-256', wrapped.result)).result), Buffer.alloc(32, 3));
  // the version was the newest one
  const exact = new CryptographyClient(key.id, limited);
  assert.deepEqual(Buffer.from((await exact.unwrapKey('RSA-OAEP-256', wrapped.result)).result), Buffer.alloc(32, 3));
  const ciphertext = (await crypto.encrypt('RSA-OAEP', Buffer.from('words'))).result;
  assert.equal(Buffer.from((await crypto.decrypt('RSA-OAEP', ciphertext)).result).toString(), 'words');
  const signer = new CryptographyClient(`${process.env.SECOND_URL}/keys/${name}-ec`, limited), digest = Buffer.alloc(32, 9);
  assert.equal((await signer.verify('ES256', digest, (await signer.sign('ES256', digest)).result)).result, true);
});

test('the rest of what a client offers', async () => {
  const keys = client();
  const name = `rest-${process.pid}`;
  const mine = generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey.export({ format: 'jwk' });
  const bytes = Object.fromEntries(['x', 'y', 'd'].map((part) => [part, Buffer.from(mine[part], 'base64url')]));
  const key = await keys.importKey(name, { kty: 'EC', crv: 'P-384', ...bytes }, { hardwareProtected: false, exportable: false, expiresOn: new Date(1999999999987) });
  assert.deepEqual([key.key.crv, key.key.d, key.properties.expiresOn.getTime()], ['P-384', undefined, 1999999999000]);
  const crypto = keys.getCryptographyClient(name);
  const signed = await crypto.signData('ES384', Buffer.from('words'));
  assert.equal((await crypto.verifyData('ES384', Buffer.from('words'), signed.result)).result, true);
  assert.equal((await crypto.verifyData('ES384', Buffer.from('others'), signed.result)).result, false);
  const rsa = new CryptographyClient((await keys.createRsaKey(name, { publicExponent: 65537 })).id, credential());
  const prefixed = Buffer.from('whatever the caller put together');
  assert.equal((await rsa.verify('RSNULL', prefixed, (await rsa.sign('RSNULL', prefixed)).result)).result, true);
  for (const algorithm of ['RSA-OAEP', 'RSA1_5']) { // the client encrypts by itself
    const { result } = await rsa.encrypt(algorithm, Buffer.alloc(0));
    assert.equal((await rsa.decrypt(algorithm, result)).result.length, 0);
  }
  await (await keys.beginDeleteKey(name)).pollUntilDone();
  const deleted = await keys.getDeletedKey(name);
  assert.ok(deleted.properties.recoveryId.endsWith(`/deletedkeys/${name}`) && deleted.keyType === 'RSA');
  for (const refused of [() => keys.createOctKey(name), () => keys.createRsaKey(name, { hsm: true }), () => keys.createRsaKey(name, { keySize: 1024 })])
    await assert.rejects(refused(), (e) => e.statusCode === 400 && e.code === 'BadParameter');
  await assert.rejects(keys.getRandomBytes(16), (e) => e.statusCode === 404); // Managed HSM's alone
});

test('a key rotates when asked, by its policy', async () => {
  const keys = client();
  const name = `rotates-${process.pid}`;
  const first = await keys.createRsaKey(name, { keySize: 2048, tags: { a: 'b' } });
  const byDefault = await keys.getKeyRotationPolicy(name);
  assert.deepEqual(byDefault.lifetimeActions, [{ action: 'Notify', timeAfterCreate: undefined, timeBeforeExpiry: 'P30D' }]);
  const policy = await keys.updateKeyRotationPolicy(name, { expiresIn: 'P90D', lifetimeActions: [{ action: 'Rotate', timeBeforeExpiry: 'P30D' }] });
  assert.deepEqual([policy.expiresIn, policy.lifetimeActions.map((a) => a.action)], ['P90D', ['Rotate', 'Notify']]);
  assert.ok(policy.id.endsWith(`/keys/${name}/rotationpolicy`) && policy.createdOn <= policy.updatedOn);
  const second = await keys.rotateKey(name);
  assert.notEqual(second.properties.version, first.properties.version);
  assert.deepEqual(second.properties.tags, { a: 'b' });
  const days = (second.properties.expiresOn - Date.now()) / 86400000;
  assert.ok(days > 89 && days <= 90, String(days));
  await assert.rejects(keys.updateKeyRotationPolicy(name, { expiresIn: 'P27D', lifetimeActions: [] }), (e) => e.code === 'BadParameter');
  await assert.rejects(keys.getKeyRotationPolicy('never-made'), (e) => e.code === 'KeyNotFound');
});

test('a backup brings a key back, also after a purge, and a release is refused', async () => {
  const keys = client(), second = new KeyClient(process.env.SECOND_URL, credential());
  const name = `kept-${process.pid}`;
  const key = await keys.createRsaKey(name, { keySize: 2048 });
  const crypto = new CryptographyClient(key.id, credential());
  const { result } = await crypto.wrapKey('RSA-OAEP-256', Buffer.alloc(32, 7));
  await keys.createEcKey(name);
  const backup = await keys.backupKey(name);
  await assert.rejects(keys.restoreKeyBackup(backup), (e) => e.statusCode === 409 && e.code === 'Conflict');
  await second.restoreKeyBackup(backup);
  await (await second.beginDeleteKey(name)).pollUntilDone();
  await second.purgeDeletedKey(name);
  await assert.rejects(second.getKey(name), (e) => e.code === 'KeyNotFound');
  assert.equal((await second.restoreKeyBackup(backup)).keyType, 'EC');
  const older = new CryptographyClient((await second.getKey(name, { version: key.properties.version })).id, credential());
  assert.deepEqual(Buffer.from((await older.unwrapKey('RSA-OAEP-256', result)).result), Buffer.alloc(32, 7));
  await assert.rejects(second.restoreKeyBackup(Buffer.from('no backup')), (e) => e.code === 'BadParameter');
  await assert.rejects(keys.releaseKey(name, 'a.b.c'), (e) => e.statusCode === 403 && e.details.error.innerError.code === 'KeyOperationForbidden');
});

test('the innermost code of a refusal is told', async () => {
  const keys = client();
  const name = `codes-${process.pid}`;
  const key = await keys.createRsaKey(name, { keySize: 2048, enabled: false });
  await assert.rejects(keys.getKey(name), (e) => e.code === 'Forbidden' && e.details.error.innerError.code === 'KeyDisabled');
  await assert.rejects(keys.rotateKey(name), (e) => e.code === 'Forbidden' && e.details.error.innerError.code === 'KeyDisabled');
  await keys.updateKeyProperties(name, key.properties.version, { enabled: true, keyOps: ['sign'] });
  const crypto = new CryptographyClient(`${process.env.VAULT_URL}/keys/${name}/${key.properties.version}`, credential());
  await assert.rejects(crypto.decrypt({ algorithm: 'RSA-OAEP-256', ciphertext: Buffer.alloc(256) }), /decrypt/);
});

for (const serviceVersion of ['7.0', '7.1', '7.2', '7.3', '7.4', '7.5', '7.6-preview.2', '7.6', '2025-06-01-preview', '2025-07-01', '2026-01-01-preview', '2026-03-01-preview']) {
  test(`api-version ${serviceVersion} is spoken`, async () => {
    const keys = new KeyClient(process.env.VAULT_URL, credential(), { serviceVersion });
    const name = `version-${serviceVersion.replace(/\./g, '-')}-${process.pid}`;
    const key = await keys.createEcKey(name);
    assert.equal((await keys.getKey(name)).id, key.id);
  });
}
