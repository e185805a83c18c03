import { spawn, spawnSync } from 'node:child_process'
import { existsSync, realpathSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { SluiceError } from '../../api/errors.ts'
import { dataFolder, socketPath } from '../device-api.ts'
import { findOnPath } from '../find-on-path.ts'
import { nodesFolder } from '../processes.ts'
import { defineVerb, EXIT } from '../verb.ts'

/** The version that our tests run. */
const NODE_RED = 'node-red@5.0.7'

export const nodered = defineVerb({
  name: 'nodered',
  summary: 'Node-RED beside the agent, with nodes for its twins',
  description:
    'Starts Node-RED on the loopback address with the Sluice nodes in it. Its flows live in DIR/nodered. Sign in as admin ' +
    'with the content of DIR/local-api.token.\n\n' +
    'Node-RED itself is not part of Sluice: --install fetches it from npm into that folder, and one that is on the PATH ' +
    'is used as it is. With --into the nodes are only put into a Node-RED you have.',
  options: {
    data: { kind: 'text', value: 'DIR', help: 'Folder of the agent (also: SLUICE_DATA).' },
    port: { kind: 'port', value: 'PORT', help: 'Where the editor listens. Default 1880.' },
    host: {
      kind: 'text',
      value: 'ADDRESS',
      help: 'Default 127.0.0.1; put a proxy with TLS in front of anything else.',
    },
    install: { kind: 'flag', help: `Fetch ${NODE_RED} from npm first, when it is not there.` },
    into: {
      kind: 'text',
      value: 'DIR',
      help: "Put the nodes into this Node-RED's user folder (~/.node-red) and stop.",
    },
  },
  examples: [
    { command: 'sluice nodered --install', says: 'Fetch Node-RED once, and start it' },
    { command: 'sluice nodered --port 1881', says: 'Start it again, elsewhere' },
    { command: 'sluice nodered --into ~/.node-red', says: 'Use the nodes in your own Node-RED' },
  ],
  async run({ options, out, env, signal }) {
    const { findNodeRed, installNodes, prepareUserDir } = await import('../nodered/place.ts')
    if (options.into !== undefined) {
      const folder = resolve(options.into)
      if (!existsSync(folder)) {
        throw new SluiceError('SLUICE_CLI_FILE', `There is no folder ${folder}`, {
          hint: 'Start your Node-RED once: it makes its folder.',
        })
      }
      installNodes(folder, nodesFolder())
      if (out.json) out.value({ installed: folder })
      else out.line(`The Sluice nodes are in ${folder}; start Node-RED again`)
      return EXIT.ok
    }
    const data = dataFolder(options.data, env)
    const folder = join(data, 'nodered')
    const token = join(data, 'local-api.token')
    const { ensureToken } = await import('../../agent/local-api/token.ts')
    prepareUserDir(folder, nodesFolder())
    ensureToken(token)
    const known = () => findNodeRed(folder, findOnPath('node-red', env['PATH'] ?? ''))
    if (known() === undefined && options.install) {
      out.note(`Fetching ${NODE_RED} into ${folder} ...`)
      const argv = ['install', '--no-audit', '--no-fund', '--omit=dev', '--save-exact', NODE_RED]
      const npm = spawnSync('npm', argv, { cwd: folder, stdio: ['ignore', 2, 2] })
      if (npm.status !== 0) {
        throw new SluiceError('SLUICE_CLI_NODERED_MISSING', `npm could not fetch ${NODE_RED}`, {
          hint: 'Is npm installed and its registry reachable? What npm said stands above.',
          cause: npm.error,
        })
      }
      // npm puts its own idea of our nodes in their place.
      installNodes(folder, nodesFolder())
    }
    const program = known()
    if (program === undefined) {
      throw new SluiceError('SLUICE_CLI_NODERED_MISSING', 'Node-RED is not installed', {
        hint: "Fetch it once: 'sluice nodered --install'. Or put the nodes into your own: 'sluice nodered --into ~/.node-red'.",
      })
    }
    const port = options.port ?? 1880
    const host = options.host ?? '127.0.0.1'
    out.note(`Node-RED starts at http://${host}:${port}; sign in as admin with the content of ${token}`)
    const child = spawn(
      process.execPath,
      [realpathSync(program), '--userDir', folder, '--settings', join(folder, 'settings.cjs')],
      {
        stdio: 'inherit',
        env: {
          ...env,
          SLUICE_SOCKET: socketPath(data),
          SLUICE_TOKEN_FILE: token,
          SLUICE_NODERED_PORT: String(port),
          SLUICE_NODERED_HOST: host,
        },
      },
    )
    signal.addEventListener('abort', () => child.kill('SIGTERM'), { once: true })
    const code = await new Promise<number>((done, reject) => {
      child.once('error', reject)
      child.once('exit', (exitCode) => done(exitCode ?? 0))
    })
    return code === 0 || signal.aborted ? EXIT.ok : EXIT.failure
  },
})
