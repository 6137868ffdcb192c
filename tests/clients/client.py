"""Drives an Ollama server by the official Python client, and prints what came of it as JSON.

    ollama-python client.py URL
"""

import json
import sys

import ollama

MODEL = "llama3.2:1b"
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather of a city",
            "parameters": {
                "type": "object",
                "required": ["city"],
                "properties": {"city": {"type": "string"}},
            },
        },
    }
]
SCHEMA = {
    "type": "object",
    "required": ["kind", "days"],
    "properties": {"kind": {"enum": ["rain", "sun"]}, "days": {"type": "integer"}},
}

client = ollama.Client(host=sys.argv[1], trust_env=False)


def user(text):
    return [{"role": "user", "content": text}]


def chat():
    answer = client.chat(MODEL, user("Hm [[sim:reply=Ja, süß.]]"))
    return [answer.message.content, answer.done_reason, answer.eval_count]


def stream():
    chunks = list(client.chat(MODEL, user("Hm [[sim:reply=Ja, süß.]]"), stream=True))
    return ["".join(chunk.message.content for chunk in chunks), len(chunks), chunks[-1].done_reason]


def tools():
    messages = user("Oslo?")
    answer = client.chat(MODEL, messages, tools=TOOLS)
    call = answer.message.tool_calls[0].function
    messages += [answer.message, {"role": "tool", "tool_name": call.name, "content": "rain"}]
    final = client.chat(MODEL, messages, tools=TOOLS).message
    return [call.name, dict(call.arguments), final.content.splitlines()[-1], len(final.tool_calls or [])]


def tools_stream():
    chunks = client.chat(MODEL, user("Oslo?"), tools=TOOLS, stream=True)
    return [call.function.name for chunk in chunks for call in chunk.message.tool_calls or []]


def think():
    answer = client.chat("qwen3:4b", user("Why? [[sim:reply=So.]]"), think=True).message
    silent = client.chat("qwen3:4b", user("Why? [[sim:reply=So.]]"), think=False).message
    return [answer.thinking.split(" ")[0], answer.content, silent.thinking]


def structured():
    answer = client.chat(MODEL, user("Oslo?"), format=SCHEMA)
    return json.loads(answer.message.content)


def generate():
    answer = client.generate(MODEL, "Why? [[sim:reply=So.]]", system="You are Ada.")
    return [answer.response, answer.done]


def embed():
    vectors = client.embed("nomic-embed-text", ["a", "b", "a"]).embeddings
    return [len(vectors), len(vectors[0]), vectors[0] == vectors[2], vectors[0] == vectors[1]]


def listing():
    return sorted(model.model for model in client.list().models)


def ps():
    return sorted(model.model for model in client.ps().models)


def show():
    shown = client.show("gemma2:2b")
    return [shown.capabilities, shown.modelinfo["gemma2.context_length"], shown.details.family]


def pull():
    steps = list(client.pull("tiny:1b", stream=True))
    progress = [step for step in steps if step.completed]
    client.delete("tiny:1b")
    return [steps[0].status, steps[-1].status, progress[-1].completed == progress[-1].total]


def errors():
    def refused(call):
        try:
            call()
        except ollama.ResponseError as error:
            return [error.status_code, error.error]
        return "no error"

    return [
        refused(lambda: client.chat("none", user("x"))),
        refused(lambda: client.chat("gemma2:2b", user("x"), tools=TOOLS)),
        refused(lambda: client.chat("fake-cloud", user("x"))),
        refused(lambda: client.chat(MODEL, user("[[sim:fault=busy]]"))),
        refused(lambda: client.show("none")),
        # Its constructor is told no status when the error comes in the stream.
        refused(lambda: list(client.chat(MODEL, user("[[sim:fault=error_midstream]]"), stream=True)))[1],
    ]


CASES = [chat, stream, tools, tools_stream, think, structured, generate, embed, listing, ps, show, pull, errors]
print(json.dumps({case.__name__: case() for case in CASES}))
