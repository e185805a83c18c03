import { dataFolder } from '../device-api.ts'
import { readSecret } from '../secret-input.ts'
import { defineVerb, EXIT } from '../verb.ts'

export const join = defineVerb({
  name: 'join',
  summary: 'Give this gateway its certificate, by a token',
  description:
    'Makes a key that never leaves this machine, proves with the token who it is, and stores the certificate it gets. ' +
    'The token comes from a file or standard input, never from the command line, where every user could read it.',
  options: {
    data: { kind: 'text', value: 'DIR', help: 'Folder of the agent (also: SLUICE_DATA).' },
    'token-file': { kind: 'text', value: 'FILE', help: 'File with the token; - or nothing means standard input.' },
  },
  examples: [
    { command: 'sluice join --token-file gw-2.token', says: 'Then: sluice agent' },
    { command: 'sluice token create -g gw-2 | ssh gw-2 sluice join', says: 'Without a file in between' },
  ],
  async run({ options, out, signal, env }) {
    const data = dataFolder(options.data, env)
    const [{ join: enrol }, { loadIdentity, saveIdentity }] = await Promise.all([
      import('../../agent/link/enrol.ts'),
      import('../../agent/link/identity.ts'),
    ])
    const before = loadIdentity(data)
    const identity = await enrol(readSecret(options['token-file'], 'token-file'), signal)
    saveIdentity(data, identity)
    const { gateway, hubUrl } = identity
    if (out.json) out.value({ gateway, hubUrl, data, replaced: before?.gateway ?? null })
    else {
      out.line(`Joined as gateway ${gateway}; the hub is ${hubUrl}`)
      out.note(`Start it: sluice agent --data ${data}`)
    }
    return EXIT.ok
  },
})
