"""What can go wrong for a sender, as its user is told."""

from __future__ import annotations

from squall.errors import ClusterError, Defect, SquallInternalError, TopologyError


def reason(error: Exception) -> str:
    """Why a connection is not there, in a few words."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def is_refusal(error: Exception) -> bool:
    """Whether the two sides of a TLS connection do not agree; a connection that broke is no such thing."""
    import ssl

    broke = ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError
    return isinstance(error, ssl.SSLError) and not isinstance(error, broke)


def tls_refused(peer: str, error: Exception) -> ClusterError:
    """The certificates of the two sides, or their versions of TLS, do not fit."""
    facts = (("because", str(error)),)
    fix = "check the certificates: ca that signed the receiver's, the name it is for, and a cert of your own if it asks"
    return ClusterError(Defect("tls_refused", f"{peer} and this side do not agree on TLS", facts, fix))


def unreachable(peer: str, why: str, after_s: float) -> ClusterError:
    """No connection for too long."""
    facts = (("because", why), ("tried for", f"{after_s:g} s"))
    fix = "start the receiver, check the address, or allow more time"
    return ClusterError(Defect("tcp_unreachable", f"{peer} cannot be reached", facts, fix), retryable=True)


def no_receipts(peer: str) -> ClusterError:
    """The receiver takes records and closes, and never sends a receipt."""
    fix = 'have it send them, TcpSpout.listen(…, receipts="processed"), or do without: receipts=False, --no-receipts'
    return ClusterError(Defect("tcp_no_receipts", f"{peer} took every record and sent no receipt", (), fix))


def not_a_receipt(peer: str, text: str) -> ClusterError:
    """The receiver sends something else."""
    facts = (("it sent", text),)
    fix = "check the address (a server with TLS needs tls), or do without receipts: receipts=False, --no-receipts"
    return ClusterError(Defect("receipt_invalid", f"{peer} sent what is no receipt", facts, fix))


def unreceipted(peer: str, kept: int, timeout_s: float, trouble: str | None) -> ClusterError:
    """Time is over, and records are not receipted."""
    facts = [("not receipted", f"{kept} records"), ("waited", f"{timeout_s:g} s")]
    facts += [("not connected", trouble)] if trouble else []
    fix = "wait longer, or see what holds the receiver up"
    message = f"{peer} has not receipted everything"
    return ClusterError(Defect("tcp_unreceipted", message, tuple(facts), fix), retryable=True)


def no_room(peer: str, kept: int, timeout_s: float, trouble: str | None) -> ClusterError:
    """Time is over, and there is no room for the record."""
    facts = [("kept", f"{kept} records"), ("waited", f"{timeout_s:g} s")]
    facts += [("not connected", trouble)] if trouble else []
    fix = "send it again later: it was not taken"
    message = f"{peer} receipts more slowly than records are sent"
    return ClusterError(Defect("tcp_unreceipted", message, tuple(facts), fix), retryable=True)


def closed(peer: str) -> TopologyError:
    """The feeder was closed."""
    fix = "send before `close`, or inside of `with`"
    return TopologyError(Defect("tcp_feeder_closed", f"the feeder of {peer} is closed", (), fix))


def defect_of_ours(error: Exception) -> SquallInternalError:
    """What should not happen."""
    internal = SquallInternalError(Defect("sending_failed", f"sending failed: {type(error).__name__}: {error}"))
    internal.__cause__ = error
    return internal
