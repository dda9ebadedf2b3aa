"""What the tests of keys put into a node, and how they see that it is sealed or back."""
import pymongo.errors

from processes import READY_SECONDS, wait_until

INACCESSIBLE = 9900021


def sealed_error(node):
    """The answer of a sealed node to a ping, or None while it has no such answer."""
    try:
        with node.client(auth=False, serverSelectionTimeoutMS=500) as client:
            client.admin.command("ping")
    except pymongo.errors.OperationFailure as e:
        return e
    except pymongo.errors.PyMongoError:
        pass  # between two images
    return None


def serves(node, n=500):
    try:
        with node.client(serverSelectionTimeoutMS=500) as client:
            return client.t.c.count_documents({}) == n
    except pymongo.errors.PyMongoError:
        return False


def fill(node, n=500, word="x"):
    with node.client() as client:
        client.t.c.insert_many([{"_id": i, "word": word + str(i), "pad": "p" * 200} for i in range(n)])


def last_probe(node):
    """What is known of the node's last probe of its key; between two images of the process, whose socket is closed, nothing."""
    try:
        return node.admin("status").get("lastProbe", {})
    except (OSError, ValueError):
        return {}


def wait_class(node, name, when=""):
    wait_until(lambda: last_probe(node).get("class") == name, f"a probe is {name}{when}", 2 * READY_SECONDS)
