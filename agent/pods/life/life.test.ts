import { readdirSync, watch } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { PodStatus } from '../../../api/link/pods.ts'
import { busyboxImage, type MadeImage, missingForPods } from '../images/busybox.test-helper.ts'
import { FREE, isRunning, PodHouse } from './pod-house.test-helper.ts'

const missing = missingForPods()
if (missing !== undefined && process.env['CI'] === 'true') throw new Error(missing)

const signal = AbortSignal.timeout(120_000)
let image: MadeImage
let house: PodHouse
beforeAll(() => {
  if (missing === undefined) image = busyboxImage()
})
afterAll(() => image?.[Symbol.dispose]())

describe.skipIf(missing !== undefined)('pods of a gateway, with the process runtime', () => {
  beforeEach(async () => {
    house = await PodHouse.open({ image, signal })
  })
  afterEach(() => house[Symbol.asyncDispose]())

  it('runs, is told as ready, and is gone without a trace once it is deleted', async () => {
    house.put('web', {})
    const up = await house.status('web', isRunning)
    expect(up).toMatchObject({
      qosClass: 'BestEffort',
      containerStatuses: [{ name: 'main', ready: true, started: true, restartCount: 0, state: { running: {} } }],
    })
    expect(up.containerStatuses![0]!.containerID).toMatch(/^process:\/\/[0-9a-f]{64}$/)
    house.remove('web')
    await house.status('web', (_, gone) => gone)
    expect(await house.runtime.list()).toEqual([])
    house.objects = []
    house.keeper.wake()
  })

  it('reads ConfigMaps, Secrets and the downward API as variables and files', async () => {
    house.give({
      kind: 'ConfigMap',
      key: 'plant/cm',
      rev: '1',
      object: { uid: 'cm', generation: 1, data: { colour: 'blue', 'a.txt': 'text' } },
    })
    const secret = Buffer.from('s3cret').toString('base64')
    house.give({
      kind: 'Secret',
      key: 'plant/sec',
      rev: '1',
      object: { uid: 'sec', generation: 1, data: { password: secret } },
    })
    const uid = house.put(
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
    const end = await house.status('reader', ({ phase }) => phase === 'Succeeded' || phase === 'Failed')
    const log = await house.log(uid)
    expect(log).toContain('blue s3cret gw-1 reader 64\n')
    expect(log).toContain('texts3cretapp="reader"')
    expect(log).toContain('Read-only file system')
    expect(log).toMatch(/stdout F y$/m)
    expect(end).toMatchObject({ phase: 'Succeeded', qosClass: 'Guaranteed' })
  })

  it('waits for what is missing, says what, and goes on when it is there', async () => {
    house.put('late', {
      containers: [{ name: 'main', image: 'test/busybox:1', envFrom: [{ secretRef: { name: 'later' } }] }],
    })
    const waits = await house.status(
      'late',
      (one) => one.containerStatuses?.[0]?.state.waiting?.reason === 'CreateContainerConfigError',
    )
    expect(waits.containerStatuses![0]!.state.waiting!.message).toContain('secret "later" not found')
    expect(house.events).toContainEqual(
      expect.objectContaining({ about: 'plant/late', type: 'Warning', reason: 'Failed' }),
    )
  })

  it('says that an image is not there, with the remedy', async () => {
    house.put('none', { containers: [{ name: 'main', image: 'test/nothing:1' }] })
    const one = await house.status(
      'none',
      ({ containerStatuses }) => containerStatuses?.[0]?.state.waiting?.reason === 'ErrImagePull',
    )
    expect(one.containerStatuses![0]!.state.waiting!.message).toContain('import/')
    expect(one.phase).toBe('Pending')
  })

  it('runs init containers first, restarts what fails, and counts', async () => {
    const uid = house.put('job', {
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
    const end = await house.status('job', ({ phase }) => phase === 'Succeeded')
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
    expect(await house.log(uid, 'main', 1)).toContain('prepared')
  })

  it('is ready when its probe says so, is restarted when it is dead, and its hooks run', async () => {
    const uid = house.put('probed', {
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
    await house.status('probed', isReady(false))
    const [sandbox] = await house.runtime.list()
    const { id } = sandbox!.containers[0]!
    const touch = async (file: string) => {
      await using session = await house.runtime.exec(id, { command: ['touch', file], stdin: false, tty: false }, signal)
      await session.exited
    }
    await touch('/tmp/ready')
    await house.status('probed', isReady(true))
    await touch('/tmp/dead')
    const again = await house.status('probed', ({ containerStatuses }) => containerStatuses?.[0]?.restartCount === 1)
    expect(again.containerStatuses![0]!.lastState.terminated).toMatchObject({ exitCode: 0 })
    expect(await house.log(uid)).toMatch(/hooked\n.*stopping/)
    expect(house.events).toContainEqual(
      expect.objectContaining({ reason: 'Unhealthy', message: expect.stringContaining('Liveness probe failed') }),
    )
  })

  it('asks over HTTP and TCP inside of the pod', async () => {
    house.put('web', {
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
    expect(isRunning(await house.status('web', isRunning))).toBe(true)
  })

  it('is taken up by the next agent as it is: nothing ends, nothing begins again', async () => {
    house.put('steady', {})
    const before = await house.status('steady', isRunning)
    await house.leave()
    house.enter()
    const after = await house.status('steady', isRunning)
    expect(after.containerStatuses).toEqual(before.containerStatuses)
    expect(house.events.filter(({ reason }) => reason === 'Started')).toHaveLength(1)
  })

  it('ends what nobody wants any more after the next start', async () => {
    house.put('orphan', {})
    await house.status('orphan', isRunning)
    await house.leave()
    house.objects = []
    house.enter()
    const empty = Promise.withResolvers<void>()
    const stop = house.runtime.onChange(
      () => void house.runtime.list().then((all) => all.length === 0 && empty.resolve()),
    )
    house.keeper.wake()
    await empty.promise
    stop()
  })

  it('stands still, ends and begins again as the tether says', async () => {
    house.put('tied', {})
    const before = await house.status('tied', isRunning)
    house.leash = { begins: false, ownWill: true, work: 'stopped' }
    house.keeper.wake()
    await house.status('tied', ({ containerStatuses }) => containerStatuses?.[0]?.state.running === undefined)
    house.leash = FREE
    house.keeper.wake()
    const after = await house.status('tied', isRunning)
    expect(after.containerStatuses![0]!.restartCount).toBe(before.containerStatuses![0]!.restartCount + 1)
  })

  it('keeps the logs of the two containers before, and none of those before that', async () => {
    const uid = house.put('changing', { script: 'trap "exit 0" TERM; echo up; while true; do sleep 0.05; done' })
    await house.status('changing', isRunning)
    for (let attempt = 1; attempt <= 3; attempt++) {
      house.edit('changing', (pod) => ({
        ...pod,
        spec: { ...pod.spec, containers: [{ ...pod.spec.containers[0]!, env: [{ name: 'N', value: `${attempt}` }] }] },
      }))
      await house.status('changing', (one) => isRunning(one) && one.containerStatuses?.[0]?.restartCount === attempt)
    }
    const logs = join(house.folder, 'logs', `plant_changing_${uid}`, 'main')
    const { promise, resolve } = Promise.withResolvers<void>()
    const look = () => void (readdirSync(logs).every((name) => /^[123]\.log$/.test(name)) && resolve())
    const watcher = watch(logs, look)
    look()
    await promise.finally(() => watcher.close())
  })

  it('refuses what this runtime cannot do and disturbs nothing else', async () => {
    house.put('good', {})
    house.put('bad', { containers: [{ name: 'main', image: 'test/busybox:1', securityContext: { privileged: true } }] })
    await house.status('good', isRunning)
    await house.event(({ about, message }) => about === 'plant/bad' && message.includes('privileged'))
    expect(house.events.find(({ about }) => about === 'plant/bad')).toMatchObject({
      type: 'Warning',
      reason: 'FailedCreatePodSandBox',
    })
  })

  it('makes each of twenty pods once, whatever happens at the same time', async () => {
    const uids = Array.from({ length: 20 }, (_, at) => house.put(`p${at}`, {}))
    for (let at = 0; at < 20; at++) await house.status(`p${at}`, isRunning)
    const all = await house.runtime.list()
    expect(all.map(({ podUid }) => podUid).sort()).toEqual([...uids].sort())
    expect(all.every(({ containers }) => containers.length === 1)).toBe(true)
  })
})
