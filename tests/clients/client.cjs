// Drives an Ollama server by the official JavaScript client, and prints what came of it as JSON.
//
//     ollama-js client.cjs URL

const { Ollama } = require('ollama')

const model = 'llama3.2:1b'
const tools = [
  {
    type: 'function',
    function: {
      name: 'get_weather',
      description: 'The weather of a city',
      parameters: { type: 'object', required: ['city'], properties: { city: { type: 'string' } } },
    },
  },
]
const schema = {
  type: 'object',
  required: ['kind', 'days'],
  properties: { kind: { enum: ['rain', 'sun'] }, days: { type: 'integer' } },
}

const client = new Ollama({ host: process.argv[2] })
const user = (content) => [{ role: 'user', content }]

async function all(stream) {
  const parts = []
  for await (const part of await stream) parts.push(part)
  return parts
}

async function refused(call) {
  try {
    await call()
  } catch (error) {
    return [error.status_code, error.error]
  }
  return 'no error'
}

const cases = {
  async chat() {
    const answer = await client.chat({ model, messages: user('Hm [[sim:reply=Ja, süß.]]') })
    return [answer.message.content, answer.done_reason, answer.eval_count]
  },
  async stream() {
    const chunks = await all(client.chat({ model, messages: user('Hm [[sim:reply=Ja, süß.]]'), stream: true }))
    return [chunks.map((chunk) => chunk.message.content).join(''), chunks.length, chunks.at(-1).done_reason]
  },
  async tools() {
    const messages = user('Oslo?')
    const answer = await client.chat({ model, messages, tools })
    const call = answer.message.tool_calls[0].function
    messages.push(answer.message, { role: 'tool', tool_name: call.name, content: 'rain' })
    const final = (await client.chat({ model, messages, tools })).message
    return [call.name, call.arguments, final.content.split('\n').at(-1), (final.tool_calls ?? []).length]
  },
  async tools_stream() {
    const chunks = await all(client.chat({ model, messages: user('Oslo?'), tools, stream: true }))
    return chunks.flatMap((chunk) => chunk.message.tool_calls ?? []).map((call) => call.function.name)
  },
  async think() {
    const ask = (think) => client.chat({ model: 'qwen3:4b', messages: user('Why? [[sim:reply=So.]]'), think })
    const answer = (await ask(true)).message
    const silent = (await ask(false)).message
    return [answer.thinking.split(' ')[0], answer.content, silent.thinking ?? null]
  },
  async structured() {
    const answer = await client.chat({ model, messages: user('Oslo?'), format: schema })
    return JSON.parse(answer.message.content)
  },
  async generate() {
    const answer = await client.generate({ model, prompt: 'Why? [[sim:reply=So.]]', system: 'You are Ada.' })
    return [answer.response, answer.done]
  },
  async embed() {
    const vectors = (await client.embed({ model: 'nomic-embed-text', input: ['a', 'b', 'a'] })).embeddings
    const [a, b, again] = vectors.map((vector) => vector.join())
    return [vectors.length, vectors[0].length, a === again, a === b]
  },
  async listing() {
    return (await client.list()).models.map((known) => known.model).sort()
  },
  async ps() {
    return (await client.ps()).models.map((known) => known.model).sort()
  },
  async show() {
    const shown = await client.show({ model: 'gemma2:2b' })
    return [shown.capabilities, shown.model_info['gemma2.context_length'], shown.details.family]
  },
  async pull() {
    const steps = await all(client.pull({ model: 'tiny:1b', stream: true }))
    const progress = steps.filter((step) => step.completed)
    await client.delete({ model: 'tiny:1b' })
    return [steps[0].status, steps.at(-1).status, progress.at(-1).completed === progress.at(-1).total]
  },
  async errors() {
    const ask = (name, content, more) => () => client.chat({ model: name, messages: user(content), ...more })
    const broken = ask(model, '[[sim:fault=error_midstream]]', { stream: true })
    return [
      await refused(ask('none', 'x')),
      await refused(ask('gemma2:2b', 'x', { tools })),
      await refused(ask('fake-cloud', 'x')),
      await refused(ask(model, '[[sim:fault=busy]]')),
      await refused(() => client.show({ model: 'none' })),
      // Its error has no status when it comes in the stream.
      await all(broken()).then(
        () => 'no error',
        (error) => error.message,
      ),
    ]
  },
}

async function main() {
  const told = {}
  for (const [name, run] of Object.entries(cases)) told[name] = await run()
  console.log(JSON.stringify(told))
}

main()
