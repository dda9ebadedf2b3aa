// The official Node driver against a running node; started by test_node_driver.py, which says where it is.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const { MongoClient, ObjectId, Long, Decimal128, MongoServerError } = require('mongodb');

const name = `node_driver_${process.pid}`;
let client;
let db;

before(async () => {
  client = new MongoClient(process.env.MONGODB_URI, { serverSelectionTimeoutMS: 10000 });
  await client.connect();
  db = client.db(name);
});

after(async () => {
  await db.dropDatabase();
  await client.close();
});

test('values of all common types come back as they were', async () => {
  const document = {
    _id: new ObjectId(),
    double: 1.5,
    int: 42,
    long: Long.fromString('9007199254740993'),
    decimal: Decimal128.fromString('0.10'),
    text: 'Grüße, 世界',
    bytes: Buffer.from([0, 1, 255]),
    date: new Date('2026-11-24T03:37:34.123Z'),
    nothing: null,
    yes: true,
    list: [1, 'two', { three: 3 }],
    nested: { a: { b: { c: [] } } },
    expression: /^a.*z$/i,
  };
  await db.collection('types').insertOne(document);
  const back = await db.collection('types').findOne({ _id: document._id }, { promoteLongs: false });
  assert.deepEqual(Object.keys(back), Object.keys(document));
  assert.equal(back.long.toString(), '9007199254740993');
  assert.equal(back.decimal.toString(), '0.10');
  assert.deepEqual(Buffer.from(back.bytes.buffer), document.bytes);
  assert.deepEqual(back.date, document.date);
  assert.equal(back.text, document.text);
  assert.deepEqual(back.nested, document.nested);
  assert.equal(back.expression.source, document.expression.source);
});

test('a cursor of many batches returns each document once, in order', async () => {
  const c = db.collection('many');
  await c.insertMany(Array.from({ length: 2500 }, (_, i) => ({ _id: i, group: i % 7 })));
  const seen = [];
  for await (const d of c.find({}, { batchSize: 100 }).sort({ _id: -1 })) seen.push(d._id);
  assert.deepEqual(seen, Array.from({ length: 2500 }, (_, i) => 2499 - i));
});

test('a bulk write counts what it did and names what it could not do', async () => {
  const c = db.collection('bulk');
  await c.insertOne({ _id: 1 });
  await assert.rejects(
    c.bulkWrite([
      { insertOne: { document: { _id: 2 } } },
      { insertOne: { document: { _id: 1 } } },
      { updateOne: { filter: { _id: 2 }, update: { $set: { a: 1 } } } },
      { updateOne: { filter: { _id: 9 }, update: { $set: { a: 1 } }, upsert: true } },
      { deleteOne: { filter: { _id: 7 } } },
    ], { ordered: false }),
    (e) => {
      assert.equal(e.code, 11000);
      assert.equal(e.writeErrors.length, 1);
      assert.equal(e.writeErrors[0].index, 1);
      assert.equal(e.result.insertedCount, 1);
      assert.equal(e.result.modifiedCount, 1);
      assert.equal(e.result.upsertedCount, 1);
      return true;
    });
});

test('aggregation groups, sorts and joins', async () => {
  await db.collection('orders').insertMany([{ item: 'a', n: 2 }, { item: 'b', n: 1 }, { item: 'a', n: 5 }]);
  await db.collection('items').insertMany([{ _id: 'a', price: 3 }, { _id: 'b', price: 10 }]);
  const rows = await db.collection('orders').aggregate([
    { $group: { _id: '$item', n: { $sum: '$n' } } },
    { $lookup: { from: 'items', localField: '_id', foreignField: '_id', as: 'item' } },
    { $unwind: '$item' },
    { $project: { total: { $multiply: ['$n', '$item.price'] } } },
    { $sort: { total: -1 } },
  ]).toArray();
  assert.deepEqual(rows, [{ _id: 'a', total: 21 }, { _id: 'b', total: 10 }]);
});

test('a unique index refuses with its name and the value', async () => {
  const c = db.collection('unique');
  await c.createIndex({ email: 1 }, { unique: true });
  await c.insertOne({ email: 'a@example.invalid' });
  await assert.rejects(c.insertOne({ email: 'a@example.invalid' }), (e) => {
    assert.ok(e instanceof MongoServerError);
    assert.equal(e.code, 11000);
    assert.deepEqual(e.keyPattern, { email: 1 });
    assert.deepEqual(e.keyValue, { email: 'a@example.invalid' });
    return true;
  });
  assert.deepEqual((await c.indexes()).map((i) => i.name), ['_id_', 'email_1']);
});

test('findOneAndUpdate returns the document before and after', async () => {
  const c = db.collection('modify');
  await c.insertOne({ _id: 1, n: 1 });
  assert.equal((await c.findOneAndUpdate({ _id: 1 }, { $inc: { n: 1 } })).n, 1);
  assert.equal((await c.findOneAndUpdate({ _id: 1 }, { $inc: { n: 1 } }, { returnDocument: 'after' })).n, 3);
});

test('what a standalone node has not is refused with its code', async () => {
  const session = client.startSession();
  try {
    session.startTransaction();
    await assert.rejects(db.collection('txn').findOne({ a: 1 }, { session }), (e) => e.code === 20);
  } finally {
    await session.endSession();
  }
  const stream = db.collection('txn').watch();
  await assert.rejects(stream.next(), (e) => e.code === 40573);
  await stream.close();
});

for (const compressor of ['zlib', 'none']) {
  test(`compression ${compressor}`, async () => {
    const c = new MongoClient(process.env.MONGODB_URI, { compressors: [compressor] });
    try {
      const text = 'x'.repeat(100000);
      await c.db(name).collection('compressed').insertOne({ text });
      assert.equal((await c.db(name).collection('compressed').findOne({ text })).text.length, text.length);
    } finally {
      await c.close();
    }
  });
}

test('a wrong password and an unknown user look alike', async () => {
  const uri = new URL(process.env.MONGODB_URI);
  const errors = [];
  for (const [user, password] of [[uri.username, 'wrong'], ['nobody', 'wrong']]) {
    const c = new MongoClient(`mongodb://${user}:${password}@${uri.host}/?authSource=admin`, { serverSelectionTimeoutMS: 5000 });
    await assert.rejects(c.db('admin').command({ ping: 1 }), (e) => errors.push([e.code, e.codeName]) > 0);
    await c.close();
  }
  assert.deepEqual(errors[0], errors[1]);
  assert.equal(errors[0][0], 18);
});
