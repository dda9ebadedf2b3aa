"""Places through a driver: indexes, the operators that need one and those that do not, and $geoNear."""
import pymongo
import pymongo.errors
import pytest


def point(lng, lat):
    return {"type": "Point", "coordinates": [lng, lat]}


CITIES = {"Vienna": (16.37, 48.21), "Graz": (15.44, 47.07), "Linz": (14.29, 48.31), "Lima": (-77.03, -12.04), "Suva": (178.44, -18.14)}


@pytest.fixture
def cities(db):
    db.cities.insert_many([{"_id": n, "at": point(*p), "flat": list(p), "big": n == "Vienna"} for n, p in CITIES.items()])
    db.cities.insert_one({"_id": "nowhere"})
    return db.cities


def names(cursor):
    return [d["_id"] for d in cursor]


AUSTRIA = {"type": "Polygon", "coordinates": [[[9, 46], [17.5, 46], [17.5, 49.5], [9, 49.5], [9, 46]]]}


def test_shapes_need_no_index(cities):
    inside = {"at": {"$geoWithin": {"$geometry": AUSTRIA}}}
    assert sorted(names(cities.find(inside))) == ["Graz", "Linz", "Vienna"]
    cities.create_index([("at", "2dsphere")])
    assert sorted(names(cities.find(inside))) == ["Graz", "Linz", "Vienna"]
    assert cities.find(inside).explain()["queryPlanner"]["winningPlan"]["inputStage"]["stage"] == "IXSCAN"
    assert names(cities.find({"flat": {"$geoWithin": {"$center": [[16, 48], 1]}}})) == ["Vienna"]


def test_partial_indexes_of_places(cities):
    """An index may hold what lies in a shape alone; only a query with that very shape uses it."""
    for operator in ("$geoWithin", "$geoIntersects"):
        inside = {"at": {operator: {"$geometry": AUSTRIA}}}
        cities.create_index("big", name="inside", partialFilterExpression=inside)
        query = {"big": {"$in": [True, False]}, **inside}
        assert "'inside'" in str(cities.find(query).explain()["queryPlanner"]["winningPlan"])
        assert sorted(names(cities.find(query))) == ["Graz", "Linz", "Vienna"]
        cities.update_one({"_id": "nowhere"}, {"$set": {"at": point(15, 47), "big": False}})
        assert sorted(names(cities.find(query))) == ["Graz", "Linz", "Vienna", "nowhere"]
        cities.update_one({"_id": "nowhere"}, {"$unset": {"at": 1}})
        other = {"big": True, "at": {operator: {"$geometry": point(16.37, 48.21)}}} if operator == "$geoIntersects" else {"big": True}
        assert "'inside'" not in str(cities.find(other).explain()["queryPlanner"]["winningPlan"])
        assert cities.database.command("validate", "cities")["valid"]
        cities.drop_index("inside")


def test_near_orders_by_distance(cities):
    near = {"at": {"$near": {"$geometry": point(16, 48), "$maxDistance": 300_000}}}
    with pytest.raises(pymongo.errors.OperationFailure) as e:
        list(cities.find(near))
    assert e.value.code == 291
    cities.create_index([("at", "2dsphere"), ("big", 1)])
    cities.create_index([("flat", "2d")])
    assert names(cities.find(near)) == ["Vienna", "Graz", "Linz"]
    assert names(cities.find({**near, "big": False}).limit(1)) == ["Graz"]
    assert names(cities.find({"flat": {"$near": [-70, 0]}}))[0] == "Lima"
    assert cities.update_one(near, {"$set": {"found": 1}}).modified_count == 1
    assert names(cities.find({"found": 1})) == ["Vienna"]


def test_geo_near_tells_the_distance(cities):
    stage = {"near": point(16.37, 48.21), "distanceField": "far.km", "distanceMultiplier": 0.001, "includeLocs": "where", "query": {"big": False}}
    cities.create_index([("at", "2dsphere")])
    found = list(cities.aggregate([{"$geoNear": stage}, {"$limit": 2}]))
    assert names(found) == ["Graz", "Linz"]
    assert 140 < found[0]["far"]["km"] < 150 and found[0]["where"] == found[0]["at"]


def test_an_index_takes_places_only(cities):
    cities.create_index([("at", "2dsphere")])
    for bad, code in ((point(200, 0), 16755), ("here", 16755)):
        with pytest.raises(pymongo.errors.WriteError) as e:
            cities.insert_one({"at": bad})
        assert e.value.code == code
    cities.insert_one({"_id": "late", "at": [16.3, 48.2]})
    cities.update_one({"_id": "Lima"}, {"$set": {"at": point(16.2, 48.1)}})
    cities.delete_one({"_id": "Vienna"})
    assert set(names(cities.find({"at": {"$near": {"$geometry": point(16, 48), "$maxDistance": 50_000}}}))) == {"late", "Lima"}
    assert cities.database.command("validate", "cities")["valid"]
