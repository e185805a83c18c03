import { readFileSync } from 'node:fs'
import { Server, ServerCredentials } from '@grpc/grpc-js'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { PodContainer, PodStatus } from '../../../api/link/pods.ts'
import { busyboxImage, type MadeImage, missingForPods } from '../images/busybox.test-helper.ts'
import { isRunning, PodHouse } from './pod-house.test-helper.ts'

const missing = missingForPods()
if (missing !== undefined && process.env['CI'] === 'true') throw new Error(missing)

const signal = AbortSignal.timeout(120_000)
let image: MadeImage
let house: PodHouse
beforeAll(() => {
  if (missing === undefined) image = busyboxImage()
})
afterAll(() => image?.[Symbol.dispose]())

const shell = (name: string, script: string, more: Partial<PodContainer> = {}): PodContainer => ({
  ...{ name, image: 'test/busybox:1', command: ['sh', '-c', script], ...more },
})
const shared = { volumes: [{ name: 'w', emptyDir: {} }] } as const
const inW: Partial<PodContainer> = { volumeMounts: [{ name: 'w', mountPath: '/w' }] }
const isOver = ({ phase }: PodStatus) => phase === 'Succeeded' || phase === 'Failed'

/** A busy machine is no dead program. */
const PATIENT = { periodSeconds: 1, timeoutSeconds: 15 } as const

describe.skipIf(missing !== undefined)('containers of a pod, with the process runtime', { timeout: 60_000 }, () => {
  beforeEach(async () => {
    house = await PodHouse.open({ image, signal })
  })
  afterEach(() => house[Symbol.asyncDispose]())

  it('a sidecar begins in its turn, holds up what follows until it has started, and ends after the job', async () => {
    const sidecar = 'echo side >> /w/order; trap "echo ended >> /w/order; exit 0" TERM; while true; do sleep 0.05; done'
    const uid = house.put('job', {
      ...{ restartPolicy: 'Never', terminationGracePeriodSeconds: 20, ...shared },
      initContainers: [
        shell('first', 'echo first >> /w/order', inW),
        shell('side', sidecar, {
          ...{ ...inW, restartPolicy: 'Always' },
          startupProbe: { exec: { command: ['test', '-e', '/w/go'] }, ...PATIENT, failureThreshold: 100 },
        }),
        shell('second', 'echo second >> /w/order', inW),
      ],
      containers: [shell('main', 'echo main >> /w/order; cat /w/order', inW)],
    })
    const waits = await house.status('job', (one) => one.initContainerStatuses?.[1]?.state.running !== undefined)
    expect(waits.initContainerStatuses).toMatchObject([{ ready: true }, { started: false }, { state: { waiting: {} } }])
    expect(waits).toMatchObject({ phase: 'Pending', containerStatuses: [{ state: { waiting: {} } }] })
    const [sandbox] = await house.runtime.list()
    const { id } = sandbox!.containers.find(({ name }) => name === 'side')!
    await using session = await house.runtime.exec(
      id,
      { command: ['touch', '/w/go'], stdin: false, tty: false },
      signal,
    )
    await session.exited
    const end = await house.status('job', isOver)
    expect(end).toMatchObject({
      phase: 'Succeeded',
      initContainerStatuses: [{ name: 'first' }, { name: 'side', restartCount: 0 }, { name: 'second' }],
    })
    expect(await house.log(uid)).toMatch(/first\n.* side\n.* second\n.* main\n$/s)
    expect(readFileSync(`${house.folder}/disk/${uid}/volumes/w/order`, 'utf8')).toMatch(/main\nended\n$/)
  })

  it('a sidecar that ends is begun again, also where the pod itself never is', async () => {
    house.put('again', {
      restartPolicy: 'Never',
      initContainers: [
        shell('side', '[ -e /w/once ] && exec sleep 1000; touch /w/once; exit 0', { ...inW, restartPolicy: 'Always' }),
      ],
      ...{ containers: [shell('main', 'sleep 1000')], ...shared },
    })
    const up = await house.status(
      'again',
      (one) => isRunning(one) && one.initContainerStatuses?.[0]?.restartCount === 1,
    )
    expect(up.containerStatuses).toMatchObject([{ restartCount: 0 }])
  })

  it('is as ready as its gRPC health service says', async () => {
    let serving = 1
    const asked: string[] = []
    const server = new Server()
    server.addService(
      {
        Check: {
          path: '/grpc.health.v1.Health/Check',
          ...{ requestStream: false, responseStream: false },
          requestSerialize: (bytes: Buffer) => bytes,
          requestDeserialize: (bytes: Buffer) => bytes.subarray(2).toString(),
          responseSerialize: (status: number) => Buffer.from([0x08, status]),
          responseDeserialize: (bytes: Buffer) => bytes[1] ?? 0,
        },
      },
      {
        Check(call: { request: string }, answer: (error: null | { code: number }, status?: number) => void) {
          asked.push(call.request)
          if (serving < 0) answer({ code: 5 })
          else answer(null, serving)
        },
      },
    )
    const port = await new Promise<number>((resolve, reject) =>
      server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      ),
    )
    try {
      const readinessProbe = { grpc: { port, service: 'pump' }, ...PATIENT, failureThreshold: 1 }
      house.put('g', { hostNetwork: true, containers: [shell('main', 'sleep 1000', { readinessProbe })] })
      await house.status('g', isRunning)
      expect(asked[0]).toBe('pump')
      const isUnready = (one: PodStatus) => one.containerStatuses?.[0]?.ready === false
      serving = 2
      await house.status('g', isUnready)
      expect((await house.event(({ message }) => message.includes('serving status 2'))).reason).toBe('Unhealthy')
      serving = 1
      await house.status('g', isRunning)
      serving = -1
      await house.status('g', isUnready)
      await house.event(({ message }) => message.includes('gRPC status 5'))
    } finally {
      server.forceShutdown()
    }
  })

  it('tells the last words of a program, of a file that it names, or of its log where it fails', async () => {
    const fallback = { terminationMessagePolicy: 'FallbackToLogsOnError' } as const
    house.put('words', {
      restartPolicy: 'Never',
      containers: [
        shell('file', 'echo ignored; printf "the pump is dry" > /dev/termination-log; exit 3', fallback),
        shell('named', 'printf done > /tmp/why', { terminationMessagePath: '/tmp/why' }),
        shell('log', 'for i in $(seq 1 3); do echo line $i; done; exit 4', fallback),
        shell('well', 'echo fine', fallback),
        shell('much', 'yes | head -c 9000 > /dev/termination-log; exit 1', { securityContext: { runAsUser: 1234 } }),
        shell('silent', 'echo no; exit 5'),
      ],
    })
    const wanted = {
      ...{ file: 'the pump is dry', named: 'done', log: 'line 1\nline 2\nline 3\n' },
      ...{ well: undefined, much: 'y\n'.repeat(2048), silent: undefined },
    }
    const said = ({ containerStatuses = [] }: PodStatus) =>
      Object.fromEntries(containerStatuses.map(({ name, state }) => [name, state.terminated?.message]))
    // The end of a log may come after the end of its program.
    const last = (one: PodStatus) => isOver(one) && said(one)['log'] === wanted.log
    expect(said(await house.status('words', last))).toEqual(wanted)
  })

  it('mounts the part of a volume that its variables say, and none outside of it', async () => {
    const mount = (subPathExpr: string): Partial<PodContainer> => ({
      env: [
        { name: 'POD', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
        { name: 'OUT', value: '../../..' },
        { name: 'ROOT', value: '/etc' },
      ],
      volumeMounts: [{ name: 'w', mountPath: '/w', subPathExpr }],
    })
    const uid = house.put('parts', {
      ...shared,
      containers: [shell('main', 'echo x > /w/f; echo written; sleep 1000', mount('of/$(POD)-$$(POD)'))],
    })
    await house.status('parts', isRunning)
    await house.said(uid, /written/)
    expect(readFileSync(`${house.folder}/disk/${uid}/volumes/w/of/parts-$(POD)/f`, 'utf8')).toBe('x\n')
    for (const [name, expression, words] of [
      ['up', '$(OUT)/x', 'leads out of its volume'],
      ['root', '$(ROOT)', 'leads out of its volume'],
      ['lost', '$(NIX)', 'there is no variable NIX'],
    ] as const) {
      house.put(name, { ...shared, containers: [shell('main', 'true', mount(expression))] })
      await house.event(({ about, message }) => about === `plant/${name}` && message.includes(words))
    }
  })
})
