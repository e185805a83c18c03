import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const folder = fileURLToPath(new URL('.', import.meta.url))
const redJs = join(folder, 'node_modules', 'node-red', 'red.js')

/** Installs the peers of package.json beside this file, once. */
function installPeers(): void {
  if (existsSync(redJs)) return
  process.stderr.write('installing Node-RED and node-red-contrib-modbus for comparison ...\n')
  const argv = ['install', '--ignore-scripts', '--no-package-lock', '--no-audit', '--no-fund', '--loglevel=error']
  const npm = spawnSync('npm', argv, { cwd: folder, stdio: ['ignore', 2, 2] })
  if (npm.status !== 0) throw new Error('npm could not install the peers of bench/peers/package.json')
}

export interface NodeRedLoad {
  /** Port of the Modbus TCP server on 127.0.0.1, unit 1. */
  readonly port: number
  readonly registersPerRead: number
  readonly inFlight: number
  /** The node's "queue commands" option; on by default there. */
  readonly queued: boolean
  readonly durationMs: number
}

/**
 * Reads per second that node-red-contrib-modbus makes in a real Node-RED: a flex-getter whose every answer asks for the
 * next read, so that its own speed is the only limit. Counted by the flow, told to this process once a second.
 */
export async function nodeRedReadsPerSecond(load: NodeRedLoad): Promise<number> {
  installPeers()
  const userDir = await mkdtemp(join(tmpdir(), 'sluice-bench-node-red-'))
  const counts: { readonly atMs: number; readonly reads: number }[] = []
  const collector = await collect((reads) => counts.push({ atMs: performance.now(), reads }))
  const { port } = collector.address() as AddressInfo
  await writeFile(join(userDir, 'flows.json'), JSON.stringify(flow(load, port)))
  await writeFile(
    join(userDir, 'settings.js'),
    `module.exports = ${JSON.stringify({
      uiPort: 0,
      uiHost: '127.0.0.1',
      httpAdminRoot: false,
      httpNodeRoot: false,
      flowFile: 'flows.json',
      credentialSecret: false,
      telemetry: { enabled: false, updateNotification: false },
      logging: { console: { level: 'error' } },
    })}`,
  )
  const child = spawn(process.execPath, [redJs, '-u', userDir, '-s', join(userDir, 'settings.js')], {
    stdio: ['ignore', 'ignore', 'ignore'],
  })
  try {
    return await rate(child, counts, load.durationMs)
  } finally {
    child.kill()
    if (child.exitCode === null) await once(child, 'exit')
    collector.close()
    await rm(userDir, { recursive: true, force: true })
  }
}

/** The first count opens the measurement, so that starting up does not count; the last closes it. */
async function rate(
  child: ChildProcess,
  counts: readonly { readonly atMs: number; readonly reads: number }[],
  durationMs: number,
): Promise<number> {
  const startedMs = performance.now()
  for (;;) {
    const first = counts.find((count) => count.reads > 0)
    const last = counts.at(-1)
    if (first !== undefined && last !== undefined && last.atMs - first.atMs >= durationMs) {
      return ((last.reads - first.reads) * 1000) / (last.atMs - first.atMs)
    }
    if (performance.now() - startedMs > durationMs + 30_000) throw new Error('Node-RED did not read anything in 30 s')
    if (child.exitCode !== null) throw new Error(`Node-RED ended with exit code ${child.exitCode}`)
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

async function collect(onCount: (reads: number) => void): Promise<Server> {
  const server = createServer((request, response) => {
    onCount(Number(new URL(request.url ?? '/', 'http://localhost').searchParams.get('reads')))
    response.end()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}

function flow(load: NodeRedLoad, collectorPort: number): readonly object[] {
  const ask = `{payload: {value: 0, fc: 3, unitid: 1, address: 0, quantity: ${load.registersPerRead}}}`
  return [
    { id: 'tab', type: 'tab', label: 'bench' },
    {
      id: 'client',
      type: 'modbus-client',
      clienttype: 'tcp',
      bufferCommands: load.queued,
      failureLogEnabled: true,
      tcpHost: '127.0.0.1',
      tcpPort: String(load.port),
      tcpType: 'DEFAULT',
      unit_id: '1',
      commandDelay: '1',
      clientTimeout: '1000',
      reconnectOnTimeout: true,
      reconnectTimeout: '2000',
      parallelUnitIdsAllowed: true,
    },
    { id: 'start', type: 'inject', z: 'tab', props: [], once: true, onceDelay: '2', wires: [['first']] },
    {
      id: 'first',
      type: 'function',
      z: 'tab',
      func: `return [Array.from({length: ${load.inFlight}}, () => (${ask}))]`,
      outputs: 1,
      wires: [['getter']],
    },
    { id: 'getter', type: 'modbus-flex-getter', z: 'tab', server: 'client', wires: [['next'], []] },
    {
      id: 'next',
      type: 'function',
      z: 'tab',
      func: `global.set('reads', (global.get('reads') || 0) + 1); return ${ask}`,
      outputs: 1,
      wires: [['getter']],
    },
    { id: 'tick', type: 'inject', z: 'tab', props: [], repeat: '1', once: true, onceDelay: '1', wires: [['tell']] },
    {
      id: 'tell',
      type: 'function',
      z: 'tab',
      func: `msg.url = 'http://127.0.0.1:${collectorPort}/?reads=' + (global.get('reads') || 0); return msg`,
      outputs: 1,
      wires: [['send']],
    },
    { id: 'send', type: 'http request', z: 'tab', method: 'GET', ret: 'txt', wires: [[]] },
  ]
}
