"""Commands whose answer comes later, what ends them, and the codes that commands are refused with."""
import itertools
import threading

import pymongo.errors

from processes import wait_until

INTERRUPTED = 11601
MAX_TIME_EXPIRED = 50
INVALID_OPTIONS = 72
_numbers = itertools.count()


def code_of(call, *args, **kwargs):
    """The code that a call is refused with; 0 when it succeeds."""
    try:
        call(*args, **kwargs)
    except pymongo.errors.OperationFailure as e:
        return e.code
    return 0


class Running(threading.Thread):
    """A command on a client of its own, and its answer or the code of its error."""

    def __init__(self, node, database, command):
        super().__init__(daemon=True)
        self.database, self.command = database, {**command, "comment": f"number {next(_numbers)}"}
        self.answer = self.code = None
        self.client = node.client()
        self.start()

    def run(self):
        try:
            self.answer = self.client[self.database].command(self.command)
        except pymongo.errors.OperationFailure as e:
            self.code = e.code
        except pymongo.errors.ConnectionFailure:
            pass  # the node was killed

    def op(self):
        """What currentOp shows of it; None when it is over."""
        ops = [o for o in self.client.admin.command("currentOp")["inprog"] if o["command"].get("comment") == self.command["comment"]]
        return ops[0] if ops else None

    def end(self):
        self.join(60)
        assert not self.is_alive()
        self.client.close()
        return self.code


def building(node, database, *specs, **more):
    """A build of indexes of the collection c, once it has begun: from then on whoever names one of its indexes is told that _id_ cannot go, and before that it is not known."""
    running = Running(node, database, {"createIndexes": "c", "indexes": list(specs), **more})
    named = {"dropIndexes": "c", "index": [specs[0]["name"], "_id_"]}
    wait_until(lambda: not running.is_alive() or code_of(running.client[database].command, named) == INVALID_OPTIONS, "the build runs", interval=0.01)
    return running
