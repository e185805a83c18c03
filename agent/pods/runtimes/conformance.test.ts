import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { busyboxImage, type MadeImage } from '../images/busybox.test-helper.ts'
import { firstOf, linesOf, lyingImage, outcome, whenChanged, whenLogged, words } from './contract.test-helper.ts'
import { HOUSES, type House } from './houses.test-helper.ts'
import type { ContainerSpec, PodRuntime, SandboxSpec } from './runtime.ts'
import { plainContainer, plainSandbox } from './specs.test-helper.ts'

const missing = HOUSES.map((house) => house.missing).find((each) => each !== undefined)
if (missing !== undefined && process.env['CI'] === 'true') throw new Error(missing)

describe.each(HOUSES)(
  'what every runtime owes to a pod: $name',
  { timeout: 60_000 },
  ({ name, missing: lacks, build }) => {
    if (lacks !== undefined) {
      it.skip(`is not tested: ${lacks}`, () => {})
      return
    }
    const hasDaemon = name !== 'process'
    let house: House
    let image: MadeImage
    let runtime: PodRuntime
    let signal: AbortSignal

    beforeAll(async () => {
      house = await build()
      image = busyboxImage()
      runtime = await house.open()
      await runtime.images.import(image.archive, undefined, AbortSignal.timeout(30_000))
    }, 60_000)
    afterAll(async () => {
      await runtime?.[Symbol.asyncDispose]()
      await house?.[Symbol.asyncDispose]()
      image?.[Symbol.dispose]()
    }, 60_000)
    beforeEach(() => {
      signal = AbortSignal.timeout(60_000)
    })
    afterEach(async () => {
      const list = await runtime.list(signal)
      await Promise.all(list.map(({ id }) => runtime.removeSandbox(id, signal)))
    }, 60_000)

    const sandbox = (over: Partial<SandboxSpec> = {}) => runtime.createSandbox(plainSandbox(house.logs, over), signal)

    async function container(box: string, script: string, over: Partial<ContainerSpec> = {}): Promise<string> {
      const state = (await runtime.images.find('test/busybox:1', signal))!
      const spec = plainContainer(state, { command: ['/bin/sh', '-c', script], ...over })
      const id = await runtime.createContainer(box, spec, signal)
      await runtime.startContainer(id, signal)
      return id
    }

    const run = async (script: string, over: Partial<ContainerSpec> = {}) =>
      await container((await sandbox()).id, script, over)

    const views = async () => (await runtime.list(signal)).flatMap(({ containers }) => containers)
    const view = async (id: string) => (await views()).find((one) => one.id === id)!

    const when = (wanted: () => Promise<boolean>) => whenChanged(runtime, wanted, signal)

    const ended = async (id: string) => {
      await when(async () => (await view(id)).state === 'exited')
      return await view(id)
    }

    const said = async (id: string, line: string) => await whenLogged((await view(id)).logPath, line, signal)

    async function exec(id: string, command: readonly string[], input?: string) {
      await using session = await runtime.exec(id, { command, stdin: input !== undefined, tty: false }, signal)
      return await outcome(session, input)
    }

    it('runs a program of an image, keeps what it says in the common format, and says how it ended', async () => {
      const id = await run('echo hello; echo "$FROM_IMAGE $MINE" >&2; exit 7', {
        env: [['MINE', 'mine']],
        labels: { l: 'x' },
      })
      const { exit, logPath, startedMs, ...rest } = await ended(id)
      // The last line may be on its way when the end is known.
      await Promise.all([said(id, 'hello'), said(id, 'yes mine')])
      expect(exit).toMatchObject({ code: 7, reason: 'Error' })
      expect(exit!.finishedMs).toBeGreaterThanOrEqual(startedMs!)
      expect(rest).toMatchObject({ name: 'c', attempt: 0, labels: { l: 'x' }, imageId: image.configDigest })
      const log = linesOf(logPath).sort((a, b) => (a.includes('stdout') && b.includes('stderr') ? -1 : 1))
      expect(log[0]).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d) stdout F hello$/)
      expect(log[1]).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d) stderr F yes mine$/)
      expect((await ended(await run('exit 0'))).exit).toMatchObject({ code: 0, reason: 'Completed' })
    })

    it('says of a program that is not there that it could not be started', async () => {
      const box = await sandbox()
      const error = await container(box.id, '', { command: ['/bin/nothing'] }).catch((thrown: unknown) => thrown)
      if (error instanceof Error) expect(error).toMatchObject({ code: 'SLUICE_POD_START' })
      await when(async () => (await views())[0]?.state === 'exited')
      expect((await views())[0]!.exit).toMatchObject({ code: 128, reason: 'StartError' })
      expect((await views())[0]!.exit!.message).toContain('nothing')
    })

    it('says that memory was short', async () => {
      const id = await run('dd if=/dev/zero of=/dev/null bs=200M count=2', {
        resources: { memoryLimitBytes: 32 * 1024 * 1024 },
      })
      expect((await ended(id)).exit).toMatchObject({ code: 137, reason: 'OOMKilled' })
    })

    it('ends one that obeys by its signal and one that does not by force', async () => {
      const box = (await sandbox()).id
      const polite = await container(box, 'trap "exit 3" TERM; echo up; while true; do sleep 0.05; done')
      const deaf = await container(box, 'trap "" TERM; echo up; while true; do sleep 0.05; done', { name: 'd' })
      await Promise.all([said(polite, 'up'), said(deaf, 'up')])
      await Promise.all([runtime.stopContainer(polite, 30_000, signal), runtime.stopContainer(deaf, 1000, signal)])
      expect((await view(polite)).exit).toMatchObject({ code: 3 })
      expect((await view(deaf)).exit).toMatchObject({ code: 137, reason: 'Error' })
      await runtime.stopContainer(deaf, 0, signal)
    })

    it('gives a command its input to the end, both outputs and its exit code', async () => {
      const id = await run('sleep 1000')
      expect(await exec(id, ['sh', '-c', 'cat; echo oops >&2; exit 9'], 'typed\n')).toEqual({
        out: 'typed\n',
        err: 'oops\n',
        code: 9,
      })
      // The shortest of commands: nothing of its result is lost on the way.
      for (let code = 1; code <= 10; code++) {
        expect(await exec(id, ['sh', '-c', `echo ${code}; exit ${code}`])).toMatchObject({ out: `${code}\n`, code })
      }
      const large = 'x'.repeat(1_000_000)
      expect(await exec(id, ['wc', '-c'], large)).toMatchObject({ out: '1000000\n', code: 0 })
      expect((await exec(id, ['sh', '-c', 'yes | head -c 1000000'])).out).toHaveLength(1_000_000)
    })

    it('says of a command that is not there that it cannot be run', async () => {
      const id = await run('sleep 1000')
      const result = await exec(id, ['/bin/nothing']).catch((thrown: unknown) => thrown)
      if (result instanceof Error) expect(result).toMatchObject({ code: 'SLUICE_POD_EXEC' })
      else
        expect(result).toMatchObject({
          code: expect.toSatisfy((code) => code !== 0),
          err: expect.stringContaining('nothing'),
        })
    })

    it('gives a command a terminal of the right size, and changes it', async () => {
      const id = await run('sleep 1000')
      const until = (test: string) => `while [ "$(stty size)" ${test} ]; do sleep 0.01; done; stty size`
      const command = ['sh', '-c', `${until('!= "17 91"')}; ${until('= "17 91"')}; exit 4`]
      await using session = await runtime.exec(
        id,
        { command, stdin: true, tty: true, size: { columns: 91, rows: 17 } },
        signal,
      )
      let seen = ''
      const first = Promise.withResolvers<void>()
      session.stdout.on('data', (chunk: Buffer) => {
        seen += chunk.toString('utf8')
        if (seen.includes('17 91')) first.resolve()
      })
      await first.promise
      session.resize({ columns: 120, rows: 40 })
      expect(await session.exited).toBe(4)
      expect(seen).toContain('40 120')
    })

    it('lets somebody hear what a container says from now on and speak to it', async () => {
      const id = await run('echo before; read x; echo "heard $x"; exit 5', { stdin: true, stdinOnce: false })
      await said(id, 'before')
      await using session = await runtime.attach(id, { stdin: true, tty: false }, signal)
      session.stdin!.write('me\n')
      expect(await text(session.stdout)).toContain('heard me\n')
      expect((await ended(id)).exit).toMatchObject({ code: 5 })
    })

    it('forwards a port to the loopback of the pod, and says when nobody listens there', async () => {
      const box = (await sandbox()).id
      const id = await container(box, 'echo up; nc -l -p 8080 -e cat')
      await said(id, 'up')
      const connected = async () => {
        for (;;) {
          // The program says so before it listens.
          const duplex = await runtime.portForward(box, 8080, signal)
          duplex.write('through the wall')
          const answer = await firstOf(duplex).catch((error: { code: string }) => error.code)
          duplex.destroy()
          if (answer !== 'SLUICE_POD_PORT') return String(answer)
        }
      }
      expect(await connected()).toBe('through the wall')
      const closed = async () => await text(await runtime.portForward(box, 9, signal))
      await expect(closed()).rejects.toMatchObject({ code: 'SLUICE_POD_PORT' })
    })

    it('takes a container that nobody knew of, to look at the processes of another, which notices nothing', async () => {
      const box = (await sandbox({ containerNames: ['c'] })).id
      const looked = await container(box, 'exec sleep 987654')
      const looker = await container(box, 'read word; echo "got $word"; sleep 1000', { name: 'looker', stdin: true })
      await using attached = await runtime.attach(looker, { stdin: true, tty: false }, signal)
      attached.stdin!.write('hello\n')
      await said(looker, 'got hello')
      expect((await exec(looker, ['cat', '/proc/1/cmdline'])).out).not.toContain('987654')
      const target = { name: 'inside', targetContainerId: looked }
      const inside = await container(box, 'echo up; sleep 1000', target)
      await said(inside, 'up')
      expect((await exec(inside, ['cat', '/proc/1/cmdline'])).out).toContain('987654')
      await runtime.stopContainer(inside, 30_000, signal)
      expect((await view(inside)).exit).toMatchObject({ code: 143 })
      expect((await view(looked)).state).toBe('running')
    })

    it('goes on in a new log when the old one is moved away, and loses nothing', async () => {
      const id = await run('i=0; while true; do echo "line $i"; i=$((i+1)); sleep 0.01; done')
      await said(id, 'line 3')
      const { logPath } = await view(id)
      renameSync(logPath, `${logPath}.old`)
      await runtime.reopenLog(id, signal)
      const before = words(`${logPath}.old`).length
      await said(id, `line ${before + 5}`)
      const all = [...words(`${logPath}.old`), ...words(logPath)]
      expect(all).toEqual(all.map((_, at) => `line ${at}`))
    })

    it('shows an agent that begins again the same sandboxes and containers, and the ways into them', async () => {
      const box = await sandbox({ name: 'lasting' })
      const id = await container(box.id, 'echo up; sleep 1000')
      await said(id, 'up')
      const short = await container(box.id, 'exit 6', { name: 'd' })
      await ended(short)
      const before = await runtime.list(signal)
      await runtime[Symbol.asyncDispose]()
      runtime = await house.open()
      const byName = (list: typeof before) =>
        list.map((one) => ({ ...one, containers: [...one.containers].sort((a, b) => (a.name < b.name ? -1 : 1)) }))
      expect(byName(await runtime.list(signal))).toEqual(byName(before))
      expect((await exec(id, ['echo', 'again'])).out).toBe('again\n')
      const second = await container(box.id, 'echo anew; exit 8', { name: 'd', attempt: 1 })
      expect((await ended(second)).exit).toMatchObject({ code: 8 })
    })

    if (hasDaemon)
      it('keeps everything when its daemon is killed, and knows afterwards what ended meanwhile', async () => {
        const box = (await sandbox()).id
        const lasting = await container(box, 'i=0; while true; do echo "line $i"; i=$((i+1)); sleep 0.02; done')
        const short = await container(
          box,
          'mkdir -p /tmp; echo up; while [ ! -e /tmp/end ]; do sleep 0.02; done; exit 11',
          {
            name: 'd',
          },
        )
        await said(short, 'up')
        const { startedMs, logPath } = await view(lasting)
        const other = await container((await sandbox()).id, 'sleep 1; exit 12')
        await house.daemon!.kill()
        await expect(runtime.list(signal)).rejects.toMatchObject({ code: 'SLUICE_POD_RUNTIME_DOWN' })
        const held = words(logPath).length
        await house.daemon!.up()
        await when(async () => (await runtime.list(signal).catch(() => [])).length === 2)
        expect(await view(lasting)).toMatchObject({ state: 'running', startedMs })
        await said(lasting, `line ${held + 5}`)
        expect((await exec(lasting, ['echo', 'still'])).out).toBe('still\n')
        // It ends by this, and the command with it, perhaps before it has said how it went.
        await exec(short, ['touch', '/tmp/end'])
        expect((await ended(short)).exit).toMatchObject({ code: 11 })
        expect((await ended(other)).exit).toMatchObject({ code: 12 })
      })

    it('takes no image whose parts are not what it says', async () => {
      using lying = lyingImage('test/lying:1')
      await expect(runtime.images.import(lying.folder, undefined, signal)).rejects.toMatchObject({
        code: 'SLUICE_POD_IMAGE_DIGEST',
      })
      expect(await runtime.images.find('test/lying:1', signal)).toBeUndefined()
    })

    it('says of an image that nobody has that it cannot be fetched, and that a name is none', async () => {
      expect(await runtime.images.find('127.0.0.1:9/no/such:1', signal)).toBeUndefined()
      await expect(runtime.images.pull('127.0.0.1:9/no/such:1', undefined, signal)).rejects.toMatchObject({
        code: expect.stringMatching(/^SLUICE_(REGISTRY_FAILED|POD_IMAGE_MISSING)$/),
      })
      await expect((async () => await runtime.images.find('UPPER CASE', signal))()).rejects.toMatchObject({
        code: 'SLUICE_POD_IMAGE_NAME',
      })
    })

    it('finds an image by name, by id and in the list, and removes it', async () => {
      using other = busyboxImage({ name: 'test/other:2', env: ['OTHER=1'] })
      const [imported] = await runtime.images.import(other.archive, undefined, signal)
      expect(imported).toMatchObject({ id: other.configDigest, names: ['docker.io/test/other:2'] })
      for (const reference of ['test/other:2', 'docker.io/test/other:2', other.configDigest]) {
        expect(await runtime.images.find(reference, signal)).toMatchObject({ id: other.configDigest })
      }
      expect((await runtime.images.list(signal)).map(({ id }) => id)).toContain(other.configDigest)
      await runtime.images.remove(other.configDigest, signal)
      expect(await runtime.images.find('test/other:2', signal)).toBeUndefined()
    })

    it('makes a container as it is told: user, folder, mounts, a root that is only read', async () => {
      const data = join(house.logs, 'data')
      mkdirSync(data)
      chmodSync(data, 0o777)
      writeFileSync(join(house.logs, 'config'), 'configured')
      const id = await run(
        'exec 2>&1; id -u; pwd; cat /etc/mine; echo; echo x > /data/f; touch /new; touch /etc/mine; echo end',
        {
          user: 1234,
          workingDirectory: '/bin',
          readOnlyRoot: true,
          mounts: [
            { hostPath: join(house.logs, 'config'), containerPath: '/etc/mine', readOnly: true },
            { hostPath: data, containerPath: '/data', readOnly: false },
          ],
        },
      )
      await ended(id)
      // Two streams have no order between them, and the last line may be on its way when the end is known.
      await said(id, 'end')
      const log = words((await view(id)).logPath).join('\n')
      expect(log).toContain('1234')
      expect(log).toContain('/bin\nconfigured')
      expect(log).toMatch(/\/new: (Read-only file system|Permission denied)/)
      expect(log).toMatch(/mine: (Read-only file system|Permission denied)/)
      expect(readFileSync(join(data, 'f'), 'utf8')).toBe('x\n')
    })

    it('holds a fork bomb in its box', async () => {
      const id = await run('bomb() { bomb | bomb & }; bomb; sleep 1000', { resources: { pidsLimit: 64 } })
      const stats = (await runtime.stats(signal)).find(({ containers }) => containers.some((one) => one.id === id))!
      expect(stats.pids ?? 0).toBeLessThan(4096)
      await runtime.stopContainer(id, 0, signal)
      expect((await view(id)).state).toBe('exited')
    })

    it('counts what is used', async () => {
      const id = await run('i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo done; sleep 1000')
      await said(id, 'done')
      const [stats] = await runtime.stats(signal)
      const own = stats!.containers.find((one) => one.id === id)!
      expect(own).toMatchObject({ name: 'c', startedMs: (await view(id)).startedMs })
      expect(own.cpuS).toBeGreaterThan(0.02)
      expect(own.memoryBytes).toBeGreaterThan(10_000)
      expect(stats!.cpuS).toBeGreaterThanOrEqual(own.cpuS * 0.9)
    })

    it('stands still, goes on, and can be ended while it stands', async () => {
      const box = (await sandbox()).id
      const id = await container(box, 'i=0; while true; do echo "line $i"; i=$((i+1)); sleep 0.01; done')
      await said(id, 'line 3')
      await runtime.freeze(box, true, signal)
      const { logPath } = await view(id)
      const held = words(logPath).length
      // Another one goes on as fast as this one did.
      await said(await run('for i in 1 2 3 4 5 6 7 8 9 10; do echo "line $i"; sleep 0.01; done'), 'line 10')
      expect(words(logPath).length).toBeLessThanOrEqual(held + 1)
      await runtime.freeze(box, false, signal)
      await said(id, `line ${held + 5}`)
      await runtime.freeze(box, true, signal)
      await runtime.stopContainer(id, 1000, signal)
      expect((await view(id)).state).toBe('exited')
    })

    it('changes limits of what runs', async () => {
      const id = await run('sleep 1000', { resources: { memoryLimitBytes: 32 * 1024 * 1024 } })
      await runtime.updateResources(id, { memoryLimitBytes: 512 * 1024 * 1024 }, signal)
      expect((await exec(id, ['dd', 'if=/dev/zero', 'of=/dev/null', 'bs=200M', 'count=1'])).code).toBe(0)
    })

    it('removes without a trace, and twice is no error', async () => {
      const box = await sandbox()
      const id = await container(box.id, 'sleep 1000')
      await runtime.stopContainer(id, 0, signal)
      const { logPath } = await view(id)
      await runtime.removeContainer(id, signal)
      expect(await views()).toEqual([])
      expect(readFileSync(logPath, 'utf8')).toBe('')
      await runtime.removeContainer(id, signal)
      await runtime.stopContainer(id, 0, signal)
      await container(box.id, 'sleep 1000', { name: 'd' })
      await runtime.removeSandbox(box.id, signal)
      await runtime.removeSandbox(box.id, signal)
      expect(await runtime.list(signal)).toEqual([])
    })

    it('lets go of what it waits for when nobody wants it any more', async () => {
      const id = await run('trap "" TERM; echo up; while true; do sleep 0.05; done')
      await said(id, 'up')
      const stop = new AbortController()
      const stopping = runtime.stopContainer(id, 60_000, stop.signal).catch((error: unknown) => error)
      stop.abort(new Error('the agent stops'))
      const result = await stopping
      if (result !== undefined) expect(result).toMatchObject({ message: 'the agent stops' })
      await runtime.stopContainer(id, 0, signal)
      expect((await view(id)).exit).toMatchObject({ code: 137 })
    })
  },
)
