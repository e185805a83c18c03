import { openConsole } from '../console-api.ts'
import { padEnd, printable } from '../text.ts'
import { defineVerb, EXIT } from '../verb.ts'

export const tokenLs = defineVerb({
  name: 'token ls',
  summary: 'The tokens there are: for whom, until when, used or not',
  description:
    'Tokens are named by an id; the secrets themselves are kept nowhere. Runs where the cloud core keeps its folder.',
  options: { data: { kind: 'text', value: 'DIR', help: 'Folder of the cloud core (also: SLUICE_DATA).' } },
  examples: [
    { command: 'sluice token ls', says: 'One line a token' },
    { command: 'sluice token ls --json | jq \'.[] | select(.state == "unused")\'', says: 'Only those still good' },
  ],
  async run({ options, out, signal, env }) {
    const tokens = await openConsole(options.data, env).tokens(signal)
    if (out.json) out.value(tokens)
    else if (tokens.length === 0) out.line('No tokens. Make one: sluice token create --gateway NAME')
    else {
      const width = Math.max(7, ...tokens.map(({ gateway }) => gateway.length)) + 2
      out.line(out.style.bold(`${padEnd('ID', 14)}${padEnd('GATEWAY', width)}${padEnd('STATE', 9)}GOOD UNTIL`))
      for (const { id, gateway, state, expiresAt } of tokens) {
        out.line(`${padEnd(id, 14)}${padEnd(printable(gateway), width)}${padEnd(state, 9)}${expiresAt}`)
      }
    }
    return EXIT.ok
  },
})
