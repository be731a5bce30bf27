"""Every actor there is: which, one for each tenant or one for the node."""

from agents.coordinating.coordinator import Coordinator
from agents.curator import Curator
from agents.herald import Herald
from agents.securing.security import Security
from agents.solver import Solver
from agents.warden import Warden
from runtime.system import Role

ROSTER = (
    Role(Coordinator, key="tenant"),
    Role(Security, key="node"),
    Role(Curator, key="node"),
    Role(Warden, key="node"),
    Role(Herald, key="node"),
    # Made by the node, which knows where blobs are read.
    Role(Solver, key="tenant"),
)
