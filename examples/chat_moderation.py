"""Chat moderation: banned words and floods are taken out, and who goes on is muted; moderators ban words in the chat.

    $ squall run examples/chat_moderation.py      # -p input=FILE -p mute=1m -p strikes=3
    zoe    hi leo!
    BANNED WORD    spin77  free spins at Casino Royal
    FLOOD  kim     GOAL!!!

Shows `all` grouping (each task must know each rule), a bolt with a method for each of its inputs (`into=`), and one
output stream for what is shown, one for what is removed. Time is that of the messages. Bound: the users who wrote.
"""

import json
import re
from collections import Counter, defaultdict, deque
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from squall import Bolt, Emit, Topology
from squall.connectors.standard import Print

CHAT = Path(__file__).parent / "data" / "chat.jsonl"
FLOOD, FLOOD_TIME = 4, timedelta(seconds=5)  # so many messages in this time are one too many


class Message(NamedTuple):
    at: datetime
    user: str
    text: str


def parse(line: str) -> Message | Emit:
    """A moderator's `/ban WORD` or `/allow WORD` is a rule, anything else a message."""
    chat = json.loads(line)
    if chat.get("moderator") and (rule := re.fullmatch(r"/(ban|allow) (\w+)", chat["text"])):
        return Emit(rule[2].lower(), rule[1] == "ban", stream="rules")
    return Message(datetime.fromisoformat(chat["at"]), chat["user"], chat["text"])


class Moderate(Bolt):
    outputs = ("user", "text")
    streams = {"removed": ("why", "user", "text")}

    def __init__(self, mute: timedelta, strikes: int) -> None:
        self.mute, self.strikes = mute, strikes
        self.banned: set[str] = set()
        self.recent = defaultdict[str, deque[datetime]](lambda: deque(maxlen=FLOOD))
        self.strikes_of, self.muted_until = Counter[str](), dict[str, datetime]()

    def on_rule(self, word: str, banned: bool) -> None:
        (self.banned.add if banned else self.banned.discard)(word)

    def process(self, at: datetime, user: str, text: str) -> tuple[str, str] | Emit:
        why = self.offence(at, user, text)
        return Emit(why, user, text, stream="removed") if why else (user, text)

    def offence(self, at: datetime, user: str, text: str) -> str | None:
        self.recent[user].append(at)
        if at < self.muted_until.get(user, at):
            return "MUTED"
        is_flood = len(self.recent[user]) == FLOOD and at - self.recent[user][0] < FLOOD_TIME
        is_banned = not self.banned.isdisjoint(re.findall(r"\w+", text.lower()))
        if not (is_flood or is_banned):
            return None
        self.strikes_of[user] += 1
        if self.strikes_of[user] % self.strikes == 0:
            self.muted_until[user] = at + self.mute
        return "BANNED WORD" if is_banned else "FLOOD"


def build(input: Path = CHAT, mute: timedelta = timedelta(minutes=1), strikes: int = 3) -> Topology:
    topology = Topology("chat-moderation")
    lines = topology.spout("lines", lambda: input.open(encoding="utf-8"), outputs=("line",))
    messages = topology.bolt("parse", parse, outputs=Message, streams={"rules": ("word", "banned")}).shuffle(lines)
    moderate = topology.bolt("moderate", lambda: Moderate(mute, strikes), parallelism=2)
    moderate.fields(messages, "user").all(messages["rules"], into=Moderate.on_rule)
    topology.bolt("print", Print).shuffle(moderate).shuffle(moderate["removed"])
    return topology
