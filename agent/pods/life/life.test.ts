import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../../api/clock.ts'
import type { LinkObject, PodLinkObject } from '../../../api/link/messages.ts'
import type { LinkPod, PodSpec, PodStatus } from '../../../api/link/pods.ts'
import type { Leash } from '../../../api/tether/tether.ts'
import type { HostEvent } from '../../../mappers/sdk/mapper.ts'
import { busyboxImage, type MadeImage, missingForPods } from '../images/busybox.test-helper.ts'
import { ProcessRuntime } from '../runtimes/process/runtime.ts'
import { PodStatusBoard } from '../status-board.ts'
import { PodKeeper } from './keeper.ts'

const missing = missingForPods()
if (missing !== undefined && process.env['CI'] === 'true') throw new Error(missing)

const FREE: Leash = { begins: true, ownWill: true, work: 'runs' }
const signal = AbortSignal.timeout(120_000)
let image: MadeImage
beforeAll(() => {
  if (missing === undefined) image = busyboxImage()
})
afterAll(() => image?.[Symbol.dispose]())

let folder: string
let runtime: ProcessRuntime
let keeper: PodKeeper
let board: PodStatusBoard
let objects: PodLinkObject[]
let events: HostEvent[]
let leash: Leash
let wakes: Set<() => void>
let uids = 0

function open(): void {
  runtime = new ProcessRuntime({ folder: join(folder, 'pods'), clock: systemClock, onTrouble: () => {} })
  keeper = new PodKeeper({
    runtime,
    clock: systemClock,
    board,
    objects: () => objects,
    leash: () => leash,
    node: { name: 'gw-1', hostIp: '192.0.2.7', allocatableCpu: 2, allocatableMemoryBytes: 2 ** 30 },
    folders: { disk: join(folder, 'disk'), memory: join(folder, 'memory'), logs: join(folder, 'logs') },
    refuse: () => undefined,
    onEvent: (event) => {
      events.push(event)
      for (const wake of wakes) wake()
    },
  })
}

async function close(): Promise<void> {
  await keeper[Symbol.asyncDispose]()
  await runtime[Symbol.asyncDispose]()
}

function put(name: string, spec: Partial<PodSpec> & { script?: string }, metadata: LinkPod['metadata'] = {}): string {
  const { script, ...rest } = spec
  const uid = `life-${process.pid}-${++uids}`
  const containers = [{ name: 'main', image: 'test/busybox:1', command: ['sh', '-c', script ?? 'sleep 1000'] }]
  const object: LinkPod = {
    uid,
    generation: 1,
    metadata,
    spec: { containers, terminationGracePeriodSeconds: 1, ...rest },
  }
  objects = [
    ...objects.filter(({ key }) => key !== `plant/${name}`),
    { kind: 'Pod', key: `plant/${name}`, rev: uid, object },
  ]
  keeper.wake()
  return uid
}

const give = (object: LinkObject & PodLinkObject) => {
  objects = [...objects, object]
  keeper.wake()
}

function edit(name: string, change: (pod: LinkPod) => LinkPod): void {
  objects = objects.map((one) =>
    one.kind === 'Pod' && one.key === `plant/${name}` ? { ...one, object: change(one.object) } : one,
  )
  keeper.wake()
}

function remove(name: string): void {
  edit(name, (pod) => ({ ...pod, metadata: { ...pod.metadata, deletionTimestamp: '2026-01-01T00:00:00Z' } }))
}

/** The status of a pod once it is as wanted. */
function status(name: string, wanted: (status: PodStatus, gone: boolean) => boolean): Promise<PodStatus> {
  return new Promise((resolve, reject) => {
    const look = () => {
      const item = board.list().find(({ key }) => key === `plant/${name}`)
      if (item === undefined || !wanted(item.status, item.gone)) return
      wakes.delete(look)
      resolve(item.status)
    }
    signal.addEventListener('abort', () => reject(signal.reason))
    wakes.add(look)
    look()
  })
}

const running = (one: PodStatus) =>
  one.phase === 'Running' && one.conditions.find(({ type }) => type === 'Ready')?.status === 'True'

async function logOf(uid: string, name = 'main', attempt = 0): Promise<string> {
  const key = objects.find(({ object }) => object.uid === uid)!.key.replace('/', '_')
  return readFileSync(join(folder, 'logs', `${key}_${uid}`, name, `${attempt}.log`), 'utf8')
}

describe.skipIf(missing !== undefined)('pods of a gateway, with the process runtime', () => {
  beforeEach(async () => {
    folder = mkdtempSync('/tmp/sluice-life-')
    chmodSync(folder, 0o711)
    objects = []
    events = []
    leash = FREE
    wakes = new Set()
    board = new PodStatusBoard(() => {
      for (const wake of wakes) wake()
    })
    open()
    await runtime.images.import(image.archive, undefined, signal)
  })
  afterEach(async () => {
    await close()
    const last = new ProcessRuntime({ folder: join(folder, 'pods'), clock: systemClock, onTrouble: () => {} })
    for (const { id } of await last.list()) await last.removeSandbox(id, signal)
    await last[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true, force: true })
  })

  it('runs, is told as ready, and is gone without a trace once it is deleted', async () => {
    put('web', {})
    const up = await status('web', running)
    expect(up).toMatchObject({
      qosClass: 'BestEffort',
      containerStatuses: [{ name: 'main', ready: true, started: true, restartCount: 0, state: { running: {} } }],
    })
    expect(up.containerStatuses![0]!.containerID).toMatch(/^process:\/\/[0-9a-f]{64}$/)
    remove('web')
    await status('web', (_, gone) => gone)
    expect(await runtime.list()).toEqual([])
    objects = []
    keeper.wake()
  })

  it('reads ConfigMaps, Secrets and the downward API as variables and files', async () => {
    give({
      kind: 'ConfigMap',
      key: 'plant/cm',
      rev: '1',
      object: { uid: 'cm', generation: 1, data: { colour: 'blue', 'a.txt': 'text' } },
    })
    const secret = Buffer.from('s3cret').toString('base64')
    give({
      kind: 'Secret',
      key: 'plant/sec',
      rev: '1',
      object: { uid: 'sec', generation: 1, data: { password: secret } },
    })
    const uid = put(
      'reader',
      {
        restartPolicy: 'Never',
        containers: [
          {
            name: 'main',
            image: 'test/busybox:1',
            command: ['sh', '-c'],
            args: [
              'echo "$COLOUR $PW $NODE $(LABEL) $LIMIT"; cat /cm/a.txt /cm/../sec/password /info/labels; ls -l /sec/ | wc -l; echo x > /cm/new; echo y > /data/f && cat /data/f',
            ],
            envFrom: [{ configMapRef: { name: 'cm' }, prefix: 'P_' }],
            env: [
              { name: 'COLOUR', valueFrom: { configMapKeyRef: { name: 'cm', key: 'colour' } } },
              { name: 'PW', valueFrom: { secretKeyRef: { name: 'sec', key: 'password' } } },
              { name: 'NODE', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } },
              { name: 'LABEL', valueFrom: { fieldRef: { fieldPath: "metadata.labels['app']" } } },
              { name: 'LIMIT', valueFrom: { resourceFieldRef: { resource: 'limits.memory', divisor: '1Mi' } } },
            ],
            resources: { limits: { memory: '64Mi', cpu: '500m' } },
            volumeMounts: [
              { name: 'cm', mountPath: '/cm' },
              { name: 'sec', mountPath: '/sec' },
              { name: 'info', mountPath: '/info' },
              { name: 'data', mountPath: '/data' },
            ],
          },
        ],
        volumes: [
          { name: 'cm', configMap: { name: 'cm' } },
          { name: 'sec', projected: { sources: [{ secret: { name: 'sec' } }] } },
          { name: 'info', downwardAPI: { items: [{ path: 'labels', fieldRef: { fieldPath: 'metadata.labels' } }] } },
          { name: 'data', emptyDir: {} },
        ],
      },
      { labels: { app: 'reader' } },
    )
    const end = await status('reader', ({ phase }) => phase === 'Succeeded' || phase === 'Failed')
    const log = await logOf(uid)
    expect(log).toContain('blue s3cret gw-1 reader 64\n')
    expect(log).toContain('texts3cretapp="reader"')
    expect(log).toContain('Read-only file system')
    expect(log).toMatch(/stdout F y$/m)
    expect(end).toMatchObject({ phase: 'Succeeded', qosClass: 'Guaranteed' })
  })

  it('waits for what is missing, says what, and goes on when it is there', async () => {
    put('late', {
      containers: [{ name: 'main', image: 'test/busybox:1', envFrom: [{ secretRef: { name: 'later' } }] }],
    })
    const waits = await status(
      'late',
      (one) => one.containerStatuses?.[0]?.state.waiting?.reason === 'CreateContainerConfigError',
    )
    expect(waits.containerStatuses![0]!.state.waiting!.message).toContain('secret "later" not found')
    expect(events).toContainEqual(expect.objectContaining({ about: 'plant/late', type: 'Warning', reason: 'Failed' }))
  })

  it('says that an image is not there, with the remedy', async () => {
    put('none', { containers: [{ name: 'main', image: 'test/nothing:1' }] })
    const one = await status(
      'none',
      ({ containerStatuses }) => containerStatuses?.[0]?.state.waiting?.reason === 'ErrImagePull',
    )
    expect(one.containerStatuses![0]!.state.waiting!.message).toContain('import/')
    expect(one.phase).toBe('Pending')
  })

  it('runs init containers first, restarts what fails, and counts', async () => {
    const uid = put('job', {
      restartPolicy: 'OnFailure',
      initContainers: [
        {
          name: 'first',
          image: 'test/busybox:1',
          command: ['sh', '-c', 'echo prepared > /scratch/f'],
          volumeMounts: [{ name: 'w', mountPath: '/scratch' }],
        },
      ],
      containers: [
        {
          name: 'main',
          image: 'test/busybox:1',
          command: [
            'sh',
            '-c',
            'cat /scratch/f; if [ -e /scratch/again ]; then exit 0; fi; touch /scratch/again; exit 3',
          ],
          volumeMounts: [{ name: 'w', mountPath: '/scratch' }],
        },
      ],
      volumes: [{ name: 'w', emptyDir: {} }],
    })
    const end = await status('job', ({ phase }) => phase === 'Succeeded')
    expect(end.containerStatuses).toMatchObject([
      {
        restartCount: 1,
        state: { terminated: { exitCode: 0, reason: 'Completed' } },
        lastState: { terminated: { exitCode: 3, reason: 'Error' } },
      },
    ])
    expect(end.initContainerStatuses).toMatchObject([
      { name: 'first', ready: true, state: { terminated: { exitCode: 0 } } },
    ])
    expect(await logOf(uid, 'main', 1)).toContain('prepared')
  })

  it('is ready when its probe says so, is restarted when it is dead, and its hooks run', async () => {
    const uid = put('probed', {
      containers: [
        {
          name: 'main',
          image: 'test/busybox:1',
          command: ['sh', '-c', 'trap "cat /tmp/hook; exit 0" TERM; echo up; while true; do sleep 0.05; done'],
          readinessProbe: { exec: { command: ['test', '-e', '/tmp/ready'] }, periodSeconds: 1, failureThreshold: 1 },
          livenessProbe: {
            exec: { command: ['sh', '-c', '! test -e /tmp/dead'] },
            periodSeconds: 1,
            failureThreshold: 1,
          },
          lifecycle: {
            postStart: { exec: { command: ['sh', '-c', 'echo hooked > /tmp/hook'] } },
            preStop: { exec: { command: ['sh', '-c', 'echo stopping >> /tmp/hook'] } },
          },
        },
      ],
      terminationGracePeriodSeconds: 10,
    })
    const isReady = (wanted: boolean) => (one: PodStatus) =>
      one.containerStatuses?.[0]?.state.running !== undefined && one.containerStatuses[0].ready === wanted
    await status('probed', isReady(false))
    const [sandbox] = await runtime.list()
    const { id } = sandbox!.containers[0]!
    const touch = async (file: string) => {
      await using session = await runtime.exec(id, { command: ['touch', file], stdin: false, tty: false }, signal)
      await session.exited
    }
    await touch('/tmp/ready')
    await status('probed', isReady(true))
    await touch('/tmp/dead')
    const again = await status('probed', ({ containerStatuses }) => containerStatuses?.[0]?.restartCount === 1)
    expect(again.containerStatuses![0]!.lastState.terminated).toMatchObject({ exitCode: 0 })
    expect(await logOf(uid)).toMatch(/hooked\n.*stopping/)
    expect(events).toContainEqual(
      expect.objectContaining({ reason: 'Unhealthy', message: expect.stringContaining('Liveness probe failed') }),
    )
  })

  it('asks over HTTP and TCP inside of the pod', async () => {
    put('web', {
      containers: [
        {
          name: 'main',
          image: 'test/busybox:1',
          command: ['sh', '-c', 'echo hi > /tmp/index.html; httpd -f -p 8080 -h /tmp'],
          ports: [{ name: 'web', containerPort: 8080 }],
          startupProbe: { tcpSocket: { port: 'web' }, periodSeconds: 1, failureThreshold: 30 },
          readinessProbe: { httpGet: { port: 'web', path: '/index.html' }, periodSeconds: 1 },
        },
      ],
    })
    expect(running(await status('web', running))).toBe(true)
  })

  it('is taken up by the next agent as it is: nothing ends, nothing begins again', async () => {
    put('steady', {})
    const before = await status('steady', running)
    await close()
    board = new PodStatusBoard(() => {
      for (const wake of wakes) wake()
    })
    open()
    keeper.wake()
    const after = await status('steady', running)
    expect(after.containerStatuses).toEqual(before.containerStatuses)
    expect(events.filter(({ reason }) => reason === 'Started')).toHaveLength(1)
  })

  it('ends what nobody wants any more after the next start', async () => {
    put('orphan', {})
    await status('orphan', running)
    await close()
    objects = []
    open()
    const empty = Promise.withResolvers<void>()
    const stop = runtime.onChange(() => void runtime.list().then((all) => all.length === 0 && empty.resolve()))
    keeper.wake()
    await empty.promise
    stop()
  })

  it('stands still, ends and begins again as the tether says', async () => {
    put('tied', {})
    const before = await status('tied', running)
    leash = { begins: false, ownWill: true, work: 'stopped' }
    keeper.wake()
    await status('tied', ({ containerStatuses }) => containerStatuses?.[0]?.state.running === undefined)
    leash = FREE
    keeper.wake()
    const after = await status('tied', running)
    expect(after.containerStatuses![0]!.restartCount).toBe(before.containerStatuses![0]!.restartCount + 1)
  })

  it('refuses what this runtime cannot do and disturbs nothing else', async () => {
    put('good', {})
    put('bad', { containers: [{ name: 'main', image: 'test/busybox:1', securityContext: { privileged: true } }] })
    await status('good', running)
    const seen = Promise.withResolvers<void>()
    const look = () => {
      if (events.some(({ about, message }) => about === 'plant/bad' && message.includes('privileged'))) seen.resolve()
    }
    wakes.add(look)
    look()
    await seen.promise
    expect(events.find(({ about }) => about === 'plant/bad')).toMatchObject({
      type: 'Warning',
      reason: 'FailedCreatePodSandBox',
    })
  })

  it('makes each of twenty pods once, whatever happens at the same time', async () => {
    const uids = Array.from({ length: 20 }, (_, at) => put(`p${at}`, {}))
    for (let at = 0; at < 20; at++) await status(`p${at}`, running)
    const all = await runtime.list()
    expect(all.map(({ podUid }) => podUid).sort()).toEqual([...uids].sort())
    expect(all.every(({ containers }) => containers.length === 1)).toBe(true)
  })
})
