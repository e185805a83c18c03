import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { busyboxImage, type MadeImage, missingForPods } from '../images/busybox.test-helper.ts'
import { isRunning, PodHouse } from './pod-house.test-helper.ts'

const COMPILER = '/usr/bin/clang'
const missing = missingForPods() ?? (existsSync(COMPILER) ? undefined : 'apt-get install clang libc6-dev')
if (missing !== undefined && process.env['CI'] === 'true') throw new Error(missing)

const signal = AbortSignal.timeout(120_000)
let image: MadeImage
let house: PodHouse

const over = ({ phase }: { phase: string }) => phase === 'Succeeded' || phase === 'Failed'

describe.skipIf(missing !== undefined)('on the process runtime', () => {
  beforeAll(() => {
    image = busyboxImage()
  })
  afterAll(() => image?.[Symbol.dispose]())
  beforeEach(async () => {
    house = await PodHouse.open({ image, signal })
  })
  afterEach(() => house[Symbol.asyncDispose]())

  it('a hostile program gets nowhere by any of the ways it knows', async () => {
    const folder = join(house.folder, 'hostile')
    mkdirSync(folder, { mode: 0o755 })
    const source = new URL('escapes.test-program.c', import.meta.url).pathname
    execFileSync(COMPILER, ['-static', '-O1', '-w', '-o', join(folder, 'escapes'), source])
    for (const user of [0, 1000]) {
      const uid = house.put(`hostile-${user}`, {
        restartPolicy: 'Never',
        containers: [
          {
            name: 'main',
            image: 'test/busybox:1',
            command: ['/hostile/escapes'],
            securityContext: { runAsUser: user },
            volumeMounts: [{ name: 'h', mountPath: '/hostile', readOnly: true }],
          },
        ],
        volumes: [{ name: 'h', hostPath: { path: folder } }],
      })
      await house.status(`hostile-${user}`, over)
      const log = await house.log(uid)
      expect(log).toContain('all tried')
      expect(log.split('\n').filter((line) => line.includes('ALLOWED'))).toEqual([])
      expect(log.split('\n').filter((line) => line.includes('refused')).length).toBeGreaterThan(60)
    }
  })

  it('a fork bomb, a memory hog and one that ignores SIGTERM end when they are to, beside one that goes on', async () => {
    const uid = house.put('quiet', { script: 'i=0; while true; do i=$((i+1)); echo $i; sleep 0.02; done' })
    await house.status('quiet', isRunning)
    house.put('bomb', { script: 'bomb() { bomb | bomb & }; bomb; sleep 1000' })
    house.put('hog', {
      restartPolicy: 'Never',
      containers: [
        {
          name: 'main',
          image: 'test/busybox:1',
          command: ['tail', '/dev/zero'],
          resources: { limits: { memory: '32Mi' } },
        },
      ],
    })
    house.put('deaf', { script: 'trap "" TERM; while true; do sleep 0.05; done' })
    await house.status('bomb', isRunning)
    await house.status('deaf', isRunning)
    const hog = await house.status('hog', over)
    expect(hog.containerStatuses![0]!.state.terminated).toMatchObject({ exitCode: 137, reason: 'OOMKilled' })
    const bomb = (await house.runtime.list()).find(({ name }) => name === 'bomb')!
    const pids = (await house.runtime.stats()).find(({ id }) => id === bomb.id)!.pids ?? 0
    expect(pids).toBeLessThanOrEqual(1100)
    const before = (await house.log(uid)).length
    for (const name of ['bomb', 'deaf', 'hog']) house.remove(name)
    for (const name of ['bomb', 'deaf', 'hog']) await house.status(name, (_, gone) => gone)
    const quiet = await house.status('quiet', isRunning)
    expect(quiet.containerStatuses![0]!.restartCount).toBe(0)
    expect((await house.log(uid)).length).toBeGreaterThan(before)
  })

  it('comes back after a reboot without a network: pods, scratch volumes, secrets', async () => {
    const password = Buffer.from('s3cret').toString('base64')
    house.give({
      kind: 'Secret',
      key: 'plant/sec',
      rev: '1',
      object: { uid: 'sec', generation: 1, data: { password } },
    })
    const uid = house.put('steady', {
      containers: [
        {
          name: 'main',
          image: 'test/busybox:1',
          command: [
            'sh',
            '-c',
            'cat /sec/password; echo; echo boot >> /data/boots; wc -l < /data/boots; exec sleep 1000',
          ],
          volumeMounts: [
            { name: 'sec', mountPath: '/sec' },
            { name: 'data', mountPath: '/data' },
          ],
        },
      ],
      volumes: [
        { name: 'sec', secret: { secretName: 'sec' } },
        { name: 'data', emptyDir: {} },
      ],
    })
    await house.status('steady', isRunning)
    // A program that runs has not yet done what it is there for.
    await house.said(uid, /s3cret\n.* 1\n/)
    await house.leave()
    // What a reboot does: no process of before is there, what was in memory is gone, and the kernel has another name.
    const folder = join(house.folder, 'pods/sandboxes')
    for (const id of readdirSync(folder)) {
      const files = [
        join(folder, id, 'sandbox.json'),
        ...readdirSync(join(folder, id)).map((one) => join(folder, id, one, 'container.json')),
      ]
      for (const file of files.filter((one) => existsSync(one))) {
        const text = readFileSync(file, 'utf8')
        for (const [, pid] of text.matchAll(/"pid":(\d+)/g)) process.kill(Number(pid), 'SIGKILL')
        writeFileSync(file, text.replaceAll(/"boot":"[^"]*"/g, '"boot":"before"'))
      }
    }
    rmSync(join(house.folder, 'memory'), { recursive: true })
    house.enter()
    const again = await house.status(
      'steady',
      (one) => isRunning(one) && one.containerStatuses?.[0]?.restartCount === 1,
    )
    expect(again.containerStatuses![0]!.lastState.terminated?.exitCode).toBe(137)
    await house.said(uid, /s3cret\n.* 2\n/, 1)
  })

  it('a claim keeps what one pod wrote for the next one, who may change it', async () => {
    const volumes = [{ name: 'c', persistentVolumeClaim: { claimName: 'kept' } }]
    const run = async (name: string, script: string) => {
      const volumeMounts = [{ name: 'c', mountPath: '/kept' }]
      const containers = [{ name: 'main', image: 'test/busybox:1', command: ['sh', '-c', script], volumeMounts }]
      const uid = house.put(name, { restartPolicy: 'Never', containers, volumes })
      await house.status(name, over)
      return house.log(uid)
    }
    await run('first', 'umask 077; mkdir /kept/d; echo one > /kept/d/f; ln -s /etc/passwd /kept/link')
    expect(await run('second', 'cat /kept/d/f; echo two >> /kept/d/f; rm /kept/link; cat /kept/d/f')).toMatch(
      / one\n.* one\n.* two\n/,
    )
  })

  it('a full disk stops what is new, says so, harms nothing that runs, and what waits goes on when there is room', async () => {
    const small = join(house.folder, 'small')
    mkdirSync(small)
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64m,mode=711', 'none', small])
    await using full = await PodHouse.open({ image, signal, folder: small })
    try {
      full.put('before', {})
      await full.status('before', isRunning)
      const free = statfsSync(small)
      try {
        writeFileSync(join(small, 'filler'), Buffer.alloc(free.bavail * free.bsize))
      } catch (error) {
        // The agent has written something since: then it is full as well.
        expect((error as NodeJS.ErrnoException).code).toBe('ENOSPC')
      }
      full.put('after', {})
      const event = await full.event(({ about, type }) => about === 'plant/after' && type === 'Warning')
      expect(event.message).toMatch(/ENOSPC|no space/i)
      expect(isRunning(await full.status('before', () => true))).toBe(true)
      rmSync(join(small, 'filler'))
      full.keeper.wake()
      await full.status('after', isRunning)
      expect((await full.status('before', isRunning)).containerStatuses![0]!.restartCount).toBe(0)
    } finally {
      await full[Symbol.asyncDispose]()
      execFileSync('umount', ['-l', small])
    }
  })
})
