import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { createInterface } from 'node:readline'
import { WebSocket } from 'ws'
import { loadKubeconfig } from '../cloudcore/kube/config.ts'
import { StreamedPods } from '../test/harness/streamed-pods.ts'
import { type Bench, type Figure, percentile } from './harness.ts'

const EXEC_BUDGET_MS = 60
const FORWARD_BUDGET_MBIT = 200

/**
 * Commands and forwarded ports through everything that is in between: client, embedded API, node face, hub, gateway.
 * The peers: the same program started here without any of it, and the same bytes over one loopback connection.
 */
export const run: Bench = async ({ quick }) => {
  await using pods = await StreamedPods.start()
  await pods.run('target', ['sleep', '600'])
  return [...(await execRoundTrips(pods, quick ? 30 : 200)), ...(await forwarded(pods, quick ? 50e6 : 400e6))]
}

async function execRoundTrips(pods: StreamedPods, count: number): Promise<Figure[]> {
  const through: number[] = []
  const alone: number[] = []
  for (let index = 0; index < count + 5; index++) {
    const begun = performance.now()
    await execOnce(pods)
    const taken = performance.now() - begun
    const bare = performance.now()
    const session = await pods.runtime.exec('', { command: ['echo', 'hi'], stdin: false, tty: false })
    session.stdout.resume()
    await session.exited
    // The first few pay for what is loaded once.
    if (index < 5) continue
    through.push(taken)
    alone.push(performance.now() - bare)
  }
  const value = percentile(through, 0.5)
  const peer = percentile(alone, 0.5)
  const shared = { bench: 'streams', unit: 'ms' }
  return [
    {
      ...{
        ...shared,
        figure: 'exec round trip, p50',
        value,
        peer: 'the same program started here',
        ratio: value / peer,
      },
      ...{ budget: `<= ${EXEC_BUDGET_MS} ms`, ok: value <= EXEC_BUDGET_MS },
    },
    { ...shared, figure: 'exec round trip, p99', value: percentile(through, 0.99), ok: true },
  ]
}

/** One command over WebSocket as kubectl does it, connection included. */
async function execOnce(pods: StreamedPods): Promise<void> {
  const { server, caPem, certPem, keyPem } = loadKubeconfig(pods.core.info.kubeconfig)
  const path = '/api/v1/namespaces/default/pods/target/exec?container=main&command=echo&command=hi&stdout=true'
  const socket = new WebSocket(`${server.replace('https', 'wss')}${path}`, ['v5.channel.k8s.io'], {
    ...{ ca: caPem, cert: certPem, key: keyPem, perMessageDeflate: false },
  })
  let said = ''
  let status = ''
  socket.on('message', (data: Buffer) => {
    if (data[0] === 1) said += data.toString('utf8', 1)
    else if (data[0] === 3) status += data.toString('utf8', 1)
  })
  await once(socket, 'close')
  if (said !== 'hi\n' || !status.includes('Success'))
    throw new Error(`the command said '${said}' and ended as ${status}`)
}

async function forwarded(pods: StreamedPods, bytes: number): Promise<Figure[]> {
  const chunk = Buffer.alloc(64 * 1024, 1)
  const source = createServer((socket) => {
    let left = bytes
    const send = () => {
      while (left > 0) {
        const part = chunk.subarray(0, Math.min(left, chunk.length))
        left -= part.length
        if (!socket.write(part)) {
          socket.once('drain', send)
          return
        }
      }
      socket.end()
    }
    socket.on('error', () => {})
    send()
  }).listen(0, '127.0.0.1')
  await once(source, 'listening')
  const { port } = source.address() as AddressInfo
  const child = pods.spawn('port-forward', 'pod/target', `:${port}`)
  try {
    let local = 0
    for await (const line of createInterface({ input: child.stdout })) {
      local = Number(/127\.0\.0\.1:(\d+) ->/.exec(line)?.[1] ?? 0)
      if (local > 0) break
    }
    const value = await mbitPerS(local, bytes)
    const peer = await mbitPerS(port, bytes)
    return [
      {
        ...{ bench: 'streams', figure: 'kubectl port-forward, one connection', value, unit: 'Mbit/s' },
        ...{ peer: 'the same bytes over one loopback connection', ratio: value / peer },
        ...{ budget: `>= ${FORWARD_BUDGET_MBIT} Mbit/s`, ok: value >= FORWARD_BUDGET_MBIT },
      },
    ]
  } finally {
    child.kill()
    source.close()
  }
}

async function mbitPerS(port: number, bytes: number): Promise<number> {
  const begun = performance.now()
  let got = 0
  for await (const part of connect({ port, host: '127.0.0.1' }) as AsyncIterable<Buffer>) got += part.length
  if (got !== bytes) throw new Error(`${got} of ${bytes} bytes came`)
  return (bytes * 8) / 1e3 / (performance.now() - begun)
}
