import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { spawn as spawnPty } from '@lydell/node-pty'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { StreamedPods } from '../harness/streamed-pods.ts'
import { eventually } from '../harness/until.ts'

const missing = spawnSync('kubectl', ['version', '--client']).error !== undefined

// A machine without kubectl may skip this; a CI run without it has to fail and say so.
describe.skipIf(missing && process.env['CI'] === undefined)('kubectl looks into pods of a gateway', () => {
  let pods: StreamedPods

  beforeAll(async () => {
    pods = await StreamedPods.start()
    await pods.run('talker', ['sh', '-c', 'for i in 0 1 2 3 4; do echo line $i; done; exec sleep 600'])
  }, 60_000)

  afterAll(async () => {
    await pods[Symbol.asyncDispose]()
  })

  /** Lines that a running kubectl prints. */
  const linesOf = (child: ReturnType<StreamedPods['spawn']>) =>
    createInterface({ input: child.stdout })[Symbol.asyncIterator]()

  /** Both ways kubectl knows: WebSocket first, and SPDY where a proxy would not let that through. */
  const ways = [
    ['WebSocket', {}],
    ['SPDY', { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: 'false', KUBECTL_PORT_FORWARD_WEBSOCKETS: 'false' }],
  ] as const

  it('shows logs: all, the last lines, with times, limited, since', async () => {
    // It runs; what it has to say may still be on its way.
    await eventually(async () => (await pods.kubectl('logs', 'talker')).stdout.includes('line 4\n'), 'the last line')
    expect((await pods.kubectl('logs', 'talker')).stdout).toBe('line 0\nline 1\nline 2\nline 3\nline 4\n')
    expect((await pods.kubectl('logs', 'talker', '--tail=2')).stdout).toBe('line 3\nline 4\n')
    expect((await pods.kubectl('logs', 'talker', '--tail=0')).stdout).toBe('')
    expect((await pods.kubectl('logs', 'talker', '--tail=1', '--timestamps')).stdout).toMatch(/^20\d\d-.*Z line 4\n$/)
    expect((await pods.kubectl('logs', 'talker', '--limit-bytes=9')).stdout).toBe('line 0\nli')
    expect((await pods.kubectl('logs', 'talker', '--since=1h', '--tail=1')).stdout).toBe('line 4\n')
    expect((await pods.kubectl('logs', 'talker', '--since-time=2090-01-01T00:00:00Z')).stdout).toBe('')
  })

  it('says what is wrong: no such container, no earlier one, no such pod', async () => {
    expect((await pods.kubectl('logs', 'talker', '-c', 'nix')).stderr).toContain('container nix is not valid')
    expect((await pods.kubectl('logs', 'talker', '--previous')).stderr).toContain('previous terminated container')
    expect((await pods.kubectl('exec', 'nobody', '--', 'true')).stderr).toContain('not found')
    expect((await pods.kubectl('exec', 'talker', '--', 'no-such-program')).stderr).toContain('cannot be run')
  })

  it('follows a log until the container ends, and shows the one before a restart', async () => {
    const { sandboxId } = await pods.run('brief', ['sh', '-c', 'echo first; read go; echo last'])
    const follower = pods.spawn('logs', '-f', 'brief')
    const lines = linesOf(follower)
    expect((await lines.next()).value).toBe('first')
    const ended = once(follower, 'exit')
    const attached = pods.spawn('attach', '-i', 'brief')
    attached.stdin.end('go\n')
    expect((await lines.next()).value).toBe('last')
    expect((await ended)[0]).toBe(0)
    attached.kill()
    await pods.start(sandboxId, ['sh', '-c', 'echo again; exec sleep 600'], 1)
    expect((await pods.kubectl('logs', 'brief', '--previous')).stdout).toBe('first\nlast\n')
  })

  describe.each(ways)('over %s', (_way, extra) => {
    const kubectl = (...args: readonly string[]) => {
      const before = { ...process.env }
      Object.assign(process.env, extra)
      const answer = pods.kubectl(...args)
      process.env = before
      return answer
    }
    const spawned = (...args: readonly string[]) => {
      const before = { ...process.env }
      Object.assign(process.env, extra)
      const child = pods.spawn(...args)
      process.env = before
      return child
    }

    it('runs commands: both outputs, exit codes', async () => {
      const answer = await kubectl('exec', 'talker', '--', 'sh', '-c', 'echo out; echo err >&2; exit 3')
      expect(answer).toEqual({ code: 3, stdout: 'out\n', stderr: 'err\ncommand terminated with exit code 3\n' })
      expect(await kubectl('exec', 'talker', '--', 'true')).toEqual({ code: 0, stdout: '', stderr: '' })
    })

    it('gives a command its input, and its end', async () => {
      const child = spawned('exec', '-i', 'talker', '--', 'sha256sum')
      const data = randomBytes(3_000_000)
      child.stdin.end(data)
      const [line] = await Promise.all([linesOf(child).next(), once(child, 'exit')])
      const { createHash } = await import('node:crypto')
      expect(line.value).toBe(`${createHash('sha256').update(data).digest('hex')}  -`)
    })

    it('copies files both ways, and ends', async () => {
      const folder = pods.makeFolder(`cp-${_way}`)
      const data = randomBytes(2_500_000)
      writeFileSync(join(folder, 'up'), data)
      const up = await kubectl('cp', join(folder, 'up'), `talker:${join(folder, 'there')}`)
      expect(up).toMatchObject({ code: 0 })
      expect(readFileSync(join(folder, 'there')).equals(data)).toBe(true)
      const down = await kubectl('cp', `talker:${join(folder, 'there')}`, join(folder, 'back'))
      expect(down).toMatchObject({ code: 0 })
      expect(readFileSync(join(folder, 'back')).equals(data)).toBe(true)
    })

    it('gives a terminal with the size of the window', async () => {
      const terminal = spawnPty('kubectl', ['exec', '-it', 'talker', '--', 'sh', '-c', 'read x; stty size; exit 4'], {
        ...{ cols: 101, rows: 33 },
        env: { ...pods.env, ...extra } as Record<string, string>,
      })
      let shown = ''
      terminal.onData((data) => {
        shown += data
      })
      const ended = new Promise<number>((resolve) => terminal.onExit(({ exitCode }) => resolve(exitCode)))
      // The first size travels beside the command's start: a line later it is there.
      terminal.write('\r')
      expect(await ended).toBe(4)
      expect(shown).toMatch(/33 101|24 80/)
    })

    it('forwards ports: many connections, half-close, and a port nobody listens on', async () => {
      const body = randomBytes(5_000_000)
      const server = createServer((call, answer) => {
        call.resume()
        answer.end(body)
      }).listen(0, '127.0.0.1')
      await once(server, 'listening')
      const { port } = server.address() as AddressInfo
      const child = spawned('port-forward', 'pod/talker', `:${port}`, ':1')
      const lines = linesOf(child)
      const locals: number[] = []
      while (locals.length < 2) {
        const found = /127\.0\.0\.1:(\d+) ->/.exec(String((await lines.next()).value))
        if (found !== null) locals.push(Number(found[1]))
      }
      const fetch = (local: number) =>
        new Promise<Buffer>((resolve, reject) => {
          request({ host: '127.0.0.1', port: local, agent: false }, (answer) => {
            const parts: Buffer[] = []
            answer.on('data', (part: Buffer) => parts.push(part)).on('end', () => resolve(Buffer.concat(parts)))
            answer.on('error', reject)
          })
            .on('error', reject)
            .end()
        })
      const bodies = await Promise.all(Array.from({ length: 8 }, () => fetch(locals[0]!)))
      for (const each of bodies) expect(each.equals(body)).toBe(true)
      const told = once(child.stderr, 'data')
      await expect(fetch(locals[1]!)).rejects.toThrow()
      expect(String(await told)).toContain('nothing listens on port 1')
      child.kill()
      server.close()
    })
  })

  it('shows what nodes and pods use right now', async () => {
    const { sandboxId } = await pods.run('busy', ['sh', '-c', 'while :; do :; done'])
    const nodes = await pods.kubectl('top', 'nodes', '--no-headers')
    expect(nodes.stdout).toMatch(/^gw-1\s+\d+m\s+.*\d+Mi/)
    const [, milli] = /^busy\s+(\d+)m\s+\d+Mi/m.exec((await pods.kubectl('top', 'pods', '--no-headers')).stdout)!
    // Its share of the machine depends on what else runs there; a sleeping one would have none.
    expect(Number(milli)).toBeGreaterThan(20)
    const raw = await pods.kubectl('get', '--raw', '/apis/metrics.k8s.io/v1beta1/namespaces/default/pods/busy')
    expect(JSON.parse(raw.stdout)).toMatchObject({ kind: 'PodMetrics', containers: [{ name: 'main' }] })
    expect((await pods.kubectl('top', 'pod', 'nobody')).stderr).toContain('not found')
    await pods.runtime.removeSandbox(sandboxId)
  })

  it('attaches to the container itself', async () => {
    await pods.run('echo', ['sh', '-c', 'while read line; do echo "got $line"; done'])
    const child = pods.spawn('attach', '-i', 'echo')
    const lines = linesOf(child)
    child.stdin.write('one\n')
    child.stdin.write('two\n')
    expect((await lines.next()).value).toBe('got one')
    expect((await lines.next()).value).toBe('got two')
    child.kill()
  })

  it('carries twenty streams at a time', async () => {
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) => pods.kubectl('exec', 'talker', '--', 'echo', `number ${index}`)),
    )
    expect(answers.map(({ stdout }) => stdout)).toEqual(Array.from({ length: 20 }, (_, index) => `number ${index}\n`))
  }, 60_000)

  it('follows ten thousand lines a second and loses none', async () => {
    const script = 'read go; i=0; while [ $i -lt 5 ]; do seq $((i*10000+1)) $(((i+1)*10000)); i=$((i+1)); sleep 1; done'
    await pods.run('flood', ['sh', '-c', script])
    const follower = pods.spawn('logs', '-f', 'flood')
    const starter = pods.spawn('attach', '-i', 'flood')
    starter.stdin.write('go\n')
    starter.stdout.resume()
    let expected = 1
    for await (const line of createInterface({ input: follower.stdout })) {
      if (line !== String(expected)) throw new Error(`line ${expected} is '${line.slice(0, 40)}'`)
      expected++
    }
    expect(expected).toBe(50_001)
    starter.kill()
  }, 60_000)

  it('ends what is open when the gateway goes away, and goes on when it is back', async () => {
    const child = pods.spawn('exec', 'talker', '--', 'sh', '-c', 'echo begun; exec sleep 600')
    const errors: string[] = []
    child.stderr.on('data', (data: Buffer) => errors.push(data.toString()))
    expect((await linesOf(child).next()).value).toBe('begun')
    const ended = once(child, 'exit')
    await pods.agent[Symbol.asyncDispose]()
    expect((await ended)[0]).toBe(1)
    expect(errors.join('')).toContain('agent of the gateway stops')
    expect((await pods.kubectl('logs', 'talker')).stderr).toContain("gateway 'gw-1' is not connected")
    await pods.startAgent()
    expect((await pods.kubectl('logs', 'talker', '--tail=1')).stdout).toBe('line 4\n')
  }, 60_000)

  it('keeps a stream through a new connection of the link', async () => {
    const child = pods.spawn('exec', '-i', 'talker', '--', 'sh', '-c', 'echo begun; read x; echo "still $x"')
    const lines = linesOf(child)
    expect((await lines.next()).value).toBe('begun')
    const { SluiceError } = await import('../../api/errors.ts')
    pods.core.hub.disconnect(pods.gateway, new SluiceError('SLUICE_LINK_CLOSING', 'cut by the test'))
    child.stdin.end('here\n')
    expect((await lines.next()).value).toBe('still here')
  })
})
