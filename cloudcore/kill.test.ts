import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, it } from 'vitest'
import { systemClock } from '../api/clock.ts'
import { contains } from '../api/link/ranges.ts'
import type { Device } from '../api/resources.ts'
import { keptPort } from '../hil/kept-port.ts'
import { HubStore } from './hub/store.ts'
import { KubeClient } from './kube/client.ts'
import { loadKubeconfig } from './kube/config.ts'
import { collectionPath, DEVICE_MODELS, DEVICES, objectPath } from './kube/paths.ts'
import { httpsCall, joinAs, ScriptedAgent } from './testing/scripted-agent.ts'

const directory = mkdtempSync(join(tmpdir(), 'sluice-kill-'))
let child: ChildProcess | undefined
const hubPort = await keptPort()
const apiPort = await keptPort()

afterAll(() => {
  child?.kill('SIGKILL')
  rmSync(directory, { recursive: true, force: true })
})

interface Info {
  readonly hubUrl: string
  readonly kubeconfig: string
}

/** The ports are always the same: gateways know no others. */
async function startCloud(): Promise<Info> {
  const main = fileURLToPath(new URL('./main.ts', import.meta.url))
  const ports = ['--hub-port', `${hubPort}`, '--api-port', `${apiPort}`]
  const started = spawn(process.execPath, [main, '--data', directory, ...ports], { stdio: ['pipe', 'pipe', 'ignore'] })
  child = started
  return new Promise((resolve, reject) => {
    createInterface({ input: started.stdout }).once('line', (line) => resolve(JSON.parse(line)))
    started.once('exit', (code) => reject(new Error(`the cloud core ended with ${code}`)))
  })
}

async function killCloud(): Promise<void> {
  const ended = new Promise<void>((resolve) => child!.once('exit', () => resolve()))
  child!.kill('SIGKILL')
  await ended
}

it('loses nothing it acknowledged and doubles nothing when it is killed while values flow', async () => {
  let info = await startCloud()
  const kube = new KubeClient(loadKubeconfig(info.kubeconfig))
  const caPem = readFileSync(join(directory, 'pki/ca.crt'), 'utf8')
  const headers = { authorization: `Bearer ${readFileSync(join(directory, 'console-token'), 'utf8').trim()}` }
  await kube.create(collectionPath(DEVICE_MODELS, 'default'), {
    apiVersion: 'sluice.dev/v1alpha1',
    kind: 'DeviceModel',
    metadata: { name: 'm' },
    spec: { properties: [{ name: 'p', type: 'int', modbus: { holding: 0, as: 'uint16' } }] },
  })
  const device = await kube.create<Device>(collectionPath(DEVICES, 'default'), {
    apiVersion: 'sluice.dev/v1alpha1',
    kind: 'Device',
    metadata: { name: 'd' },
    spec: { model: 'm', nodeName: 'gw', modbus: { tcp: { host: '192.0.2.1' }, unit: 1 } },
  })
  const uid = device.metadata.uid!
  const url = `${info.hubUrl}/v1/tokens`
  const made = await httpsCall(url, { method: 'POST', caPem, headers, body: { gateway: 'gw' } })
  const identity = await joinAs('gw', (JSON.parse(made.body) as { token: string }).token, info.hubUrl, caPem)

  const acknowledged = new Set<number>()
  let written = 0
  let outbox: number[] = []
  for (let round = 0; round < 5; round++) {
    const agent = await ScriptedAgent.open({ ...identity, hubUrl: info.hubUrl.replace('https', 'wss') })
    const welcome = await agent.hello({ lastSeq: written, firstSeq: outbox[0] ?? written + 1 })
    for (const seq of acknowledged) expect(contains(welcome.received, seq)).toBe(true)
    outbox = outbox.filter((seq) => !contains(welcome.received, seq))
    let heard = 0
    const enough = new Promise<void>((resolve) => {
      agent.onFrame = (frame) => {
        if (frame.t !== 'ack') return
        for (const [first, last] of frame.received) for (let seq = first; seq <= last; seq++) acknowledged.add(seq)
        if (++heard >= 20 + 7 * round) resolve()
      }
    })
    const send = (seq: number, lane: 'live' | 'backfill') =>
      agent.send({ t: 'batch', seq, lane, body: { d: [['default/d', uid]], r: [[0, 'p', seq, Date.now()]] } })
    for (const seq of outbox) send(seq, 'backfill')
    const flow = setInterval(() => {
      for (let count = 0; count < 3; count++) {
        written++
        outbox.push(written)
        send(written, 'live')
      }
    }, 1)
    await enough
    clearInterval(flow)
    await killCloud()
    agent.cut()
    outbox = outbox.filter((seq) => !acknowledged.has(seq))
    info = await startCloud()
  }
  const last = await ScriptedAgent.open({ ...identity, hubUrl: info.hubUrl.replace('https', 'wss') })
  const welcome = await last.hello({ lastSeq: written, firstSeq: outbox[0] ?? written + 1 })
  for (const seq of outbox) {
    if (contains(welcome.received, seq)) continue
    await last.batch({ d: [['default/d', uid]], r: [[0, 'p', seq, Date.now()]] }, 'backfill', seq)
  }
  last.cut()
  await kube.get(objectPath(DEVICES, 'd', 'default'))
  await kube[Symbol.asyncDispose]()
  await killCloud()
  const store = new HubStore({ path: join(directory, 'hub.db'), clock: systemClock })
  const seqs = store.read(0, 1_000_000).map((row) => row.seq)
  store[Symbol.dispose]()
  expect(seqs).toHaveLength(new Set(seqs).size)
  expect([...seqs].sort((a, b) => a - b)).toEqual(Array.from({ length: written }, (_, index) => index + 1))
  expect(written).toBeGreaterThan(300)
  // Six cold starts of a process, each of which takes 20 s on a machine that is busy elsewhere.
}, 180_000)
