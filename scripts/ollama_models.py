#!/usr/bin/env python3
"""Makes tiny models for a real Ollama server, by hand: no weights are downloaded.

    scripts/ollama_models.py OLLAMA SCRATCH MODELS
    scripts/ollama_models.py --simulator VERSION

OLLAMA is the server's program, SCRATCH a folder for the files that go in, MODELS the folder for OLLAMA_MODELS that
comes out, with the models of `everything()` in it. `scripts/ollama` calls this. With `--simulator` it prints the same
models for ollama-sim, which simulates a server of that version: `{"models": its table, "rules": what they say}`.

A *scripted* model is a llama of one layer that does nothing: its attention and feed-forward outputs are zero, so the
token that comes next depends on the last one alone. Each token of a script has an axis of its own, on which the output
row of its successor lies; so a script plays to its end, whatever the sampler does. The last token of the prompt says
which: the control token `@s:NAME@` starts the script of that name, and any other token starts the script "plain".
A message that is nothing but `@s:NAME@` picks a script by hand; otherwise the template of the model does. It looks like no
marker of turns, so that a client which breaks those up lets it through.

A *random* model is noise. Text that is no script is one token per byte, so tests of the context window are exact.
"""

import json
import math
import os
import random
import re
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field

HEAD = 64
CONTEXT = 8192
# Logit of the token that is to come; all others have 0.
SURE = 60.0
NORMAL, CONTROL, BYTE, UNKNOWN = 1, 3, 6, 2
# The turn markers of Llama 3 and Gemma: control tokens, as in the published models.
TURNS = ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<start_of_turn>", "<end_of_turn>"]
TURNS += ["<|im_start|>", "<|im_end|>"]


@dataclass
class Model:
    """A model: its name, its scripts by name, and its chat template in Go's or in Jinja's form."""

    name: str
    scripts: dict
    template: str = ""
    jinja: str = ""
    # Scripts whose last token is followed by their first.
    endless: set = field(default_factory=set)
    noise: bool = False
    # What the template comes to: a condition of the simulator's rules, and the script that plays.
    turns: tuple = (({}, "plain"),)
    # What a server reads out of the template.
    capabilities: tuple = ("completion",)
    # What stands before a call.
    tag: str = ""
    # Tokens that the template puts around one message of a user.
    around: int = 8
    # The control token that starts a script.
    marker: str = "@s:{}@"

    def mark(self, script):
        return self.marker.format(script)


def call(name, arguments, key="parameters"):
    return json.dumps({"name": name, key: arguments})


PARIS = {"city": "Paris"}
PLAIN = "Hello, this model was made by hand."
FINAL = "It is 22 degrees in Paris."
# What a model may write when it is offered get_weather(city).
SCRIPTS = {
    "plain": PLAIN,
    "final": FINAL,
    "call": call("get_weather", PARIS),
    "two-calls": call("get_weather", PARIS) + "\n" + call("get_weather", {"city": "Rome"}),
    "call-arguments": call("get_weather", PARIS, "arguments"),
    "call-function": json.dumps({"type": "function", "function": {"name": "get_weather", "parameters": PARIS}}),
    "call-string": call("get_weather", json.dumps(PARIS)),
    "call-types": call("get_weather", {"city": 7, "days": "many"}),
    "call-unknown": call("get_wether", PARIS),
    "call-cut": call("get_weather", PARIS)[:-5],
    "call-fenced": "```json\n" + call("get_weather", PARIS) + "\n```",
    "call-tagged": "<tool_call>\n" + call("get_weather", PARIS, "arguments") + "\n</tool_call>",
    "call-pythonic": '[get_weather(city="Paris")]',
    "call-prose": "I will call the tool get_weather now.",
    "call-after-text": "Let me look that up. " + call("get_weather", PARIS),
    "action": json.dumps({"action": "get_weather", "arguments": PARIS, "answer": ""}),
    "action-final": json.dumps({"action": "final", "arguments": PARIS, "answer": FINAL}),
    "empty": "",
    "think-inline": "<think>It is a sum.</think>The answer is 4.",
    "unicode": "Grüße aus 東京, 42 °C 🦀.",
    "loop": "again ",
    "endless": "".join(f"line {number} of a text without an end, " for number in range(40)),
}
ENDLESS = {"loop", "endless"}

TAGGED = {
    "plain": PLAIN,
    "final": FINAL,
    "call": SCRIPTS["call-tagged"],
    "two-calls": SCRIPTS["call-tagged"] + "\n" + SCRIPTS["call-tagged"].replace("Paris", "Rome"),
    "call-unknown": SCRIPTS["call-tagged"].replace("get_weather", "get_wether"),
    "call-cut": SCRIPTS["call-tagged"].partition('is"}')[0],
    "call-string": "<tool_call>\n" + call("get_weather", json.dumps(PARIS), "arguments") + "\n</tool_call>",
    "loop": SCRIPTS["loop"],
    "endless": SCRIPTS["endless"],
}

THINKING = {
    "plain": "<think>Two and two.</think>The answer is 4.",
    "direct": "The answer is 4.",
    "unclosed": "<think>Two and two is",
    "json": '{"answer": 4}',
    "think-json": '<think>Two and two.</think>{"answer": 4}',
}

# The same with the calculator of Swarm.
PRODUCT = {"expression": "6*7"}
CALCULATOR = {
    "plain": PLAIN,
    "final": "It is 42.",
    "call": call("calculator", PRODUCT),
    "call-fenced": "```json\n" + call("calculator", PRODUCT) + "\n```",
    "call-tagged": "<tool_call>\n" + call("calculator", PRODUCT, "arguments") + "\n</tool_call>",
    "call-types": call("calculator", json.dumps({"expression": 42, "precision": "high"})),
    "call-unknown": call("calculate", PRODUCT),
    "call-prose": "I will call the calculator now.",
    "empty": "",
    "loop": SCRIPTS["loop"],
    "action": json.dumps({"action": "calculator", "arguments": PRODUCT}),
    "action-final": json.dumps({"action": "final", "answer": "It is 42."}),
}

# {0}: the script when the last message is the user's and tools are offered; {1}: the script after a tool's result;
# {2}, {3}: what stands before and after a call.
RENDERED = """{{- range $i, $m := .Messages }}
{{- $last := eq (len (slice $.Messages $i)) 1 }}
{{- if eq .Role "system" }}<|start_header_id|>system<|end_header_id|>{{ .Content }}<|eot_id|>
{{- else if eq .Role "user" }}<|start_header_id|>user<|end_header_id|>
{{- if and $last $.Tools }}{{ $.Tools }}{{ end }}{{ .Content }}
{{- if $last }}{{ if ne (printf "%.3s" .Content) "@s:" }}{{ if $.Tools }}@s:@user@{{ else }}@s:plain@{{ end }}{{ end }}{{ end }}
{{- else if eq .Role "assistant" }}<|start_header_id|>assistant<|end_header_id|>{{ .Content }}
{{- if .ToolCalls }}@before{{ range .ToolCalls }}{"name": "{{ .Function.Name }}", "@key": {{ .Function.Arguments }}}{{ end }}@after{{ end }}<|eot_id|>
{{- else if eq .Role "tool" }}<|start_header_id|>tool<|end_header_id|>{{ .Content }}
{{- if $last }}{{ if $.Tools }}@s:@tool@{{ else }}@s:final@{{ end }}{{ end }}
{{- end }}
{{- end }}"""


def rendered(user="call", tool="final", before="", after="", key="parameters"):
    """A template that offers tools: the scripts after a user's message and after a tool's result."""
    words = {"@user": user, "@tool": tool, "@before": before, "@after": after, "@key": key}
    template = RENDERED
    for word, value in words.items():
        template = template.replace(word, value)
    return template


def turns(user="call", tool="final"):
    """What such a template comes to."""
    after_tool = ({"last": "tool", "tools": True}, tool), ({"last": "tool"}, "final")
    return (*after_tool, ({"last": "user", "tools": True}, user), ({}, "plain"))


# As Gemma 2: it knows users and itself, and no tools.
WITHOUT_TOOLS = """{{- range $i, $m := .Messages }}
{{- $last := eq (len (slice $.Messages $i)) 1 }}
{{- if eq .Role "assistant" }}<start_of_turn>model
{{ .Content }}<end_of_turn>
{{- else }}<start_of_turn>user
{{ .Content }}
{{- if $last }}{{ if ne (printf "%.3s" .Content) "@s:" }}@default{{ end }}{{ else }}<end_of_turn>{{ end }}
{{- end }}
{{- end }}"""

# Whatever it is told.
PLAIN_ONLY = """{{- range .Messages }}<|start_header_id|>{{ .Role }}<|end_header_id|>{{ .Content }}{{ end }}@s:plain@"""

# Whatever stands last in the chat decides, and nothing is put behind it: so a text can forge a turn.
OPEN_ENDED = """{{- range .Messages }}<|start_header_id|>{{ .Role }}<|end_header_id|>{{ .Content }}
{{- range .ToolCalls }}{"name": "{{ .Function.Name }}", "parameters": {{ .Function.Arguments }}}{{ end }}
{{- end }}{{ if .Tools }}{{ end }}"""

THINKER = """{{- range $i, $m := .Messages }}
{{- $last := eq (len (slice $.Messages $i)) 1 }}
{{- if eq .Role "assistant" }}<|start_header_id|>assistant<|end_header_id|>
{{- if .Thinking }}<think>{{ .Thinking }}</think>{{ end }}{{ .Content }}<|eot_id|>
{{- else }}<|start_header_id|>{{ .Role }}<|end_header_id|>{{ .Content }}
{{- if $last }}{{ if ne (printf "%.3s" .Content) "@s:" }}{{ if and $.IsThinkSet (not $.Think) }}@s:direct@{{ else }}@s:plain@{{ end }}{{ end }}{{ end }}
{{- end }}
{{- end }}"""

NATIVE = """{%- if tools %}<|im_start|>system
You may call one or more functions. They are within <tools></tools> XML tags:
<tools>
{%- for tool in tools %}
{{ tool | tojson }}
{%- endfor %}
</tools>
For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call><|im_end|>
{% endif %}
{%- for message in messages %}
{%- if message.role == "tool" %}<|im_start|>user
<tool_response>
{{ message.content }}
</tool_response><|im_end|>
{% elif message.role == "assistant" and message.tool_calls %}<|im_start|>assistant
{%- if message.content %}
{{ message.content }}
{%- endif %}
{%- for tool_call in message.tool_calls %}
{%- if tool_call.function %}{%- set tool_call = tool_call.function %}{%- endif %}
<tool_call>
{"name": "{{ tool_call.name }}", "arguments": {{ tool_call.arguments | tojson }}}
</tool_call>
{%- endfor %}<|im_end|>
{% else %}<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{%- set last = messages[messages | length - 1] %}
{%- if last.role == "tool" %}@s:final@
{%- elif last.content and last.content[:3] == "@s:" %}{{ last.content }}
{%- elif tools %}@s:call@
{%- else %}@s:plain@
{%- endif %}
{%- endif %}"""


TOOLS = ("completion", "tools")


def everything():
    """Every model that is made."""
    weather = {"template": rendered(), "turns": turns(), "capabilities": TOOLS, "endless": ENDLESS}
    structured = {
        "template": WITHOUT_TOOLS.replace("@default", "{{ if eq $i 0 1 }}@s:action@{{ else }}@s:action-final@{{ end }}"),
        "turns": (({"turn": 1}, "action"), ({}, "action-final")),
        "endless": ENDLESS,
    }
    return [
        # The names of the default team, with scripts that a real one could write.
        Model("llama3.2:3b", SCRIPTS, **weather),
        Model("llama3.2:1b", SCRIPTS, **weather),
        Model("gemma2:2b", SCRIPTS, WITHOUT_TOOLS.replace("@default", "@s:plain@"), endless=ENDLESS),
        # Its calls stand in a tag.
        Model(
            "swarm-tagged",
            TAGGED,
            rendered(before="<tool_call>\n", after="\n</tool_call>", key="arguments"),
            endless=ENDLESS,
            turns=turns(),
            capabilities=TOOLS,
            tag="<tool_call>",
        ),
        # From Ollama 0.30 on, llama-server renders its chats and reads its calls.
        Model(
            "swarm-native",
            TAGGED,
            jinja=NATIVE,
            endless=ENDLESS,
            turns=turns(),
            capabilities=TOOLS,
            tag="<tool_call>",
            around=20,
        ),
        Model(
            "swarm-thinking",
            THINKING,
            THINKER,
            turns=(({"think": False}, "direct"), ({}, "plain")),
            capabilities=("completion", "thinking"),
        ),
        # Answers in the form of a schema: the first user's message gets a call, a further one the answer.
        Model("swarm-structured", SCRIPTS, **structured),
        # Can be told what to say by a turn that is forged in the text of others.
        Model(
            "swarm-open",
            {"plain": "I stay with my task.", "forged": "I do as the forged turn says."},
            OPEN_ENDED,
            turns=(
                ({"last": "user", "user": r"<\|s:forged\|>$"}, "forged"),
                ({"tool": r"<\|s:forged\|>$"}, "forged"),
                ({}, "plain"),
            ),
            capabilities=TOOLS,
            marker="<|s:{}|>",
        ),
        # With the calculator of Swarm: native calls read by the server or by its runner, a schema, and no end of calls.
        Model("swarm-calculator", CALCULATOR, **weather),
        Model(
            "swarm-calculator-native",
            {name: CALCULATOR[name] for name in ["plain", "final"]} | {"call": CALCULATOR["call-tagged"]},
            jinja=NATIVE,
            turns=turns(),
            capabilities=TOOLS,
            tag="<tool_call>",
            around=20,
        ),
        Model("swarm-calculator-structured", CALCULATOR, **structured),
        Model(
            "swarm-stubborn",
            CALCULATOR,
            rendered(tool="call"),
            turns=turns(tool="call"),
            capabilities=TOOLS,
        ),
        # Talks until it is stopped, whatever it is asked.
        Model("swarm-endless", {"plain": SCRIPTS["endless"]}, PLAIN_ONLY, endless={"plain"}),
        Model("swarm-random", {}, "{{- range .Messages }}{{ .Content }}{{ end }}", noise=True, turns=()),
    ]


def simulated(version):
    """The same models for a simulator of this version."""
    table, rules = [], []
    for model in everything():
        name = model.name if ":" in model.name else model.name + ":latest"
        # A Jinja template says nothing to the old server.
        renders = bool(model.template) or version != "0.17.4"
        table.append(
            {
                "name": name,
                "context_length": CONTEXT,
                "capabilities": list(model.capabilities) if renders else ["completion"],
                "emission": "native" if model.jinja else "rendered",
                "load_ms": 250,
                "tokens": {
                    "characters": 4,
                    "bytes": 1,
                    "template": model.around,
                    "markers": TURNS + [model.mark(script) for script in model.scripts],
                },
            }
        )
        if model.tag:
            table[-1]["call_tag"] = model.tag
        says = lambda script: [{"endless" if script in model.endless else "raw": model.scripts[script]}]
        for script in model.scripts:
            picked = {"last": "user", "user": f"^{re.escape(model.mark(script))}$"}
            rules.append({"when": {"model": name, **picked}, "then": says(script)})
        for when, script in model.turns:
            rules.append({"when": {"model": name, **when}, "then": says(script)})
        if model.noise:
            rules.append({"when": {"model": name, "format": True}, "then": [{"json": None}]})
            rules.append({"when": {"model": name}, "then": [{"raw": "noise"}]})
    return {"models": table, "rules": rules}


def pieces(script, taken):
    """Cuts a script into tokens that no other script has: two equal ones abort the server's loader.

    None is shorter than three characters, for shorter ones would join the bytes of other texts.
    """
    cut, rest = [], script
    while rest:
        length = 4
        while length < len(rest) and rest[:length] in taken:
            length += 1
        if len(rest) - length < 3:
            length = len(rest)
        piece = rest[:length]
        while piece in taken:
            # The end of a script, and nothing left to tell it apart by: it takes back what came before.
            if not cut:
                raise SystemExit(f"this script is the end of another: {script!r}")
            taken.discard(cut[-1])
            piece = cut.pop() + piece
        taken.add(piece)
        cut.append(piece)
        rest = rest[length:]
    return cut


class Vocabulary:
    """Tokens, and which one follows which."""

    def __init__(self, model):
        self.texts = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + TURNS
        self.types = [UNKNOWN, CONTROL, CONTROL] + [BYTE] * 256 + [CONTROL] * len(TURNS)
        self.next = {}
        self.default = 2
        taken = set()
        for name, script in model.scripts.items():
            last = start = self.add(model.mark(name), CONTROL)
            for piece in pieces(script, taken):
                token = self.add(piece.replace(" ", "\u2581"), NORMAL)
                self.next[last] = token
                last = token
            self.next[last] = self.next[start] if name in model.endless else 2
            if name == "plain":
                self.default = self.next[start]

    def add(self, text, kind):
        self.texts.append(text)
        self.types.append(kind)
        return len(self.texts) - 1


def tensors(model, vocabulary):
    """The weights: name, shape with the fastest axis first, data."""
    # Axis 0 is for all tokens that have no successor of their own.
    width = math.ceil((len(vocabulary.next) + 1) / HEAD) * HEAD
    count = len(vocabulary.texts)
    noise = random.Random(model.name)

    def weights(columns, rows, scale=1.0):
        if not model.noise:
            return bytearray(4 * columns * rows)
        size = columns * rows
        return struct.pack(f"<{size}f", *(noise.gauss(0, scale) for _ in range(size)))

    embedding, output = weights(width, count), weights(width, count, 4.0 / math.sqrt(width))
    if not model.noise:
        # The norm makes sqrt(width) of the 1 below, so the successor has the logit SURE.
        strength = SURE / math.sqrt(width)
        axes = {token: axis + 1 for axis, token in enumerate(vocabulary.next)}
        for token in range(count):
            struct.pack_into("<f", embedding, 4 * (token * width + axes.get(token, 0)), 1.0)
        for token, after in vocabulary.next.items():
            struct.pack_into("<f", output, 4 * (after * width + axes[token]), strength)
        struct.pack_into("<f", output, 4 * (vocabulary.default * width), strength)
    ones = struct.pack(f"<{width}f", *[1.0] * width)
    square = lambda name: (name, [width, width], weights(width, width, 1 / math.sqrt(width)))
    yield "token_embd.weight", [width, count], embedding
    yield "output_norm.weight", [width], ones
    yield "output.weight", [width, count], output
    yield "blk.0.attn_norm.weight", [width], ones
    for part in ["attn_q", "attn_k", "attn_v", "attn_output"]:
        yield square(f"blk.0.{part}.weight")
    yield "blk.0.ffn_norm.weight", [width], ones
    for part in ["ffn_gate", "ffn_up", "ffn_down"]:
        yield square(f"blk.0.{part}.weight")


def gguf(model):
    """The file of a model, in version 3 of the GGUF format."""
    vocabulary = Vocabulary(model)
    parts = list(tensors(model, vocabulary))
    width = parts[1][1][0]
    uint, real, flag, text, array = 4, 6, 7, 8, 9

    def string(value):
        encoded = value.encode()
        return struct.pack("<Q", len(encoded)) + encoded

    def value(kind, what):
        return string(what) if kind == text else struct.pack({uint: "<I", real: "<f", flag: "<?", 5: "<i"}[kind], what)

    def values(kind, items):
        return struct.pack("<IQ", kind, len(items)) + b"".join(value(kind, item) for item in items)

    keys = [
        ("general.architecture", text, "llama"),
        ("general.name", text, model.name),
        ("general.file_type", uint, 0),
        ("llama.context_length", uint, CONTEXT),
        ("llama.embedding_length", uint, width),
        ("llama.block_count", uint, 1),
        ("llama.feed_forward_length", uint, width),
        ("llama.attention.head_count", uint, width // HEAD),
        ("llama.attention.head_count_kv", uint, width // HEAD),
        ("llama.rope.dimension_count", uint, HEAD),
        ("llama.attention.layer_norm_rms_epsilon", real, 1e-6),
        ("llama.vocab_size", uint, len(vocabulary.texts)),
        ("tokenizer.ggml.model", text, "llama"),
        ("tokenizer.ggml.tokens", array, values(text, vocabulary.texts)),
        ("tokenizer.ggml.scores", array, values(real, [0.0] * len(vocabulary.texts))),
        ("tokenizer.ggml.token_type", array, values(5, vocabulary.types)),
        ("tokenizer.ggml.bos_token_id", uint, 1),
        ("tokenizer.ggml.eos_token_id", uint, 2),
        ("tokenizer.ggml.unknown_token_id", uint, 0),
        ("tokenizer.ggml.add_bos_token", flag, True),
        ("tokenizer.ggml.add_space_prefix", flag, False),
    ]
    if model.jinja:
        keys.append(("tokenizer.chat_template", text, model.jinja))
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(parts), len(keys))
    for key, kind, what in keys:
        head += string(key) + struct.pack("<I", kind) + (what if kind == array else value(kind, what))
    offset = 0
    for name, shape, data in parts:
        head += string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, offset)
        offset += len(data) + -len(data) % 32
    padded = lambda data: bytes(data) + bytes(-len(data) % 32)
    return padded(head) + b"".join(padded(data) for _, _, data in parts)


def modelfile(model, file):
    lines = [f"FROM {file}"]
    if model.template:
        lines.append(f'TEMPLATE """{model.template}"""')
    if not model.noise:
        lines.append("PARAMETER temperature 0")
    # A second thread on a shared core makes it slower, 3 to 10 times.
    lines.append("PARAMETER num_thread 1")
    return "\n".join(lines) + "\n"


def serve(program, environment, log):
    server = subprocess.Popen([program, "serve"], env=environment, stdout=log, stderr=log)
    deadline = time.monotonic() + 30
    while True:
        try:
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://{environment['OLLAMA_HOST']}")
            return server
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the server does not start")
            time.sleep(0.02)


def main(program, scratch, store):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.path.abspath(scratch),
        "OLLAMA_HOST": f"127.0.0.1:{port}",
        "OLLAMA_MODELS": os.path.abspath(store),
        "OLLAMA_NO_CLOUD": "1",
        "NO_PROXY": "127.0.0.1",
    }
    with open(os.path.join(scratch, "serve.log"), "wb") as log:
        server = serve(program, environment, log)
        try:
            for number, model in enumerate(everything()):
                file = os.path.join(os.path.abspath(scratch), f"{number}.gguf")
                recipe = os.path.join(scratch, f"{number}.modelfile")
                with open(file, "wb") as out:
                    out.write(gguf(model))
                with open(recipe, "w", encoding="utf-8") as out:
                    out.write(modelfile(model, file))
                subprocess.run([program, "create", model.name, "-f", recipe], env=environment, check=True)
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "--simulator":
        print(json.dumps(simulated(sys.argv[2]), indent=1))
    elif len(sys.argv) == 4:
        main(*sys.argv[1:])
    else:
        sys.exit(__doc__)
