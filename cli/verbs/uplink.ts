import { join } from 'node:path'
import { createLog } from '../../agent/log.ts'
import { DEFAULT_DATA, dataFolder } from '../device-api.ts'
import { openKube } from '../kube.ts'
import { openUplink } from '../uplink/uplink.ts'
import { defineVerb, EXIT } from '../verb.ts'

export const uplink = defineVerb({
  name: 'uplink',
  summary: 'Show the gateways of this cloud core to a higher one as one node',
  description:
    'Joins the cloud core above as if it were a gateway. What the gateways here have together is its room; pods that are ' +
    'placed on it become pods here, and their statuses go up. Runs until it is ended; a circle is refused.',
  options: {
    'token-file': {
      kind: 'text',
      value: 'FILE',
      help: 'Token made above with `sluice token create --gateway NAME`; only needed once.',
    },
    parent: {
      kind: 'text',
      value: 'URL',
      help: 'Address of the hub above, wss://HOST:PORT. Default the one that made the token.',
    },
    data: { kind: 'text', value: 'DIR', help: `Folder of the cloud core here. Default ${DEFAULT_DATA}.` },
  },
  examples: [{ command: 'sluice uplink --token-file above.token', says: 'The first time; later without the token' }],
  async run({ options, env, signal }) {
    const data = dataFolder(options.data, env)
    await using kube = openKube(data)
    const { parent } = options
    await using _running = await openUplink(
      {
        ...{ kube, dataDir: join(data, 'uplink'), joinTokenFile: options['token-file'] },
        ...(parent === undefined ? {} : { hubUrl: parent }),
      },
      { log: createLog() },
    )
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve()
      signal.addEventListener('abort', () => resolve(), { once: true })
    })
    return EXIT.ok
  },
})
