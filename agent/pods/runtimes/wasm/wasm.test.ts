import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../../../api/clock.ts'
import { busyboxImage, missingForPods } from '../../images/busybox.test-helper.ts'
import { FolderImages } from '../../images/store.ts'
import { compileWasm, missingForWasm, wasmArtifact } from '../../images/wasm.test-helper.ts'
import type { ProcessRuntime } from '../process/runtime.ts'
import type { ContainerSpec } from '../runtime.ts'
import { logSays, plainContainer, plainSandbox } from '../specs.test-helper.ts'
import { openWasmRuntime } from './runtime.ts'

const missing = missingForPods() ?? missingForWasm()
if (missing !== undefined && process.env['CI'] === 'true') throw new Error(missing)

const signal = AbortSignal.timeout(120_000)
let folder: string
let runtime: ProcessRuntime
let images: FolderImages

async function take(source: string | Uint8Array, name = 'test/module:1') {
  using artifact = wasmArtifact(typeof source === 'string' ? compileWasm(source) : source, name)
  const [image] = await images.import(artifact.folder, undefined, signal)
  return image!
}

async function begin(source: string | Uint8Array, over: Partial<ContainerSpec> = {}): Promise<string> {
  const image = await take(source)
  const sandbox = await runtime.createSandbox(plainSandbox(join(folder, 'logs')), signal)
  const id = await runtime.createContainer(sandbox.id, plainContainer(image, over), signal)
  await runtime.startContainer(id, signal)
  return id
}

async function view(id: string) {
  return (await runtime.list()).flatMap(({ containers }) => containers).find((one) => one.id === id)!
}

/** What became of it, and what it said. */
async function outcome(id: string) {
  const ended = Promise.withResolvers<void>()
  const look = async () => {
    if ((await view(id)).state === 'exited') ended.resolve()
  }
  const stop = runtime.onChange(() => void look())
  await look()
  await ended.promise
  stop()
  const { exit, logPath } = await view(id)
  const log = readFileSync(logPath, 'utf8').replaceAll(/^\S+ (stdout|stderr) F /gm, '')
  return { exit, log }
}

const run = async (source: string | Uint8Array, over: Partial<ContainerSpec> = {}) => outcome(await begin(source, over))

describe.skipIf(missing !== undefined)('WebAssembly pods', () => {
  beforeEach(() => {
    folder = mkdtempSync('/tmp/sluice-wasm-')
    chmodSync(folder, 0o711)
    mkdirSync(join(folder, 'logs'))
    images = new FolderImages({ folder: join(folder, 'images'), clock: systemClock })
    runtime = openWasmRuntime({ folder: join(folder, 'wasm'), clock: systemClock, images, onTrouble: () => {} })
  })
  afterEach(async () => {
    for (const { id } of await runtime.list()) await runtime.removeSandbox(id, signal)
    await runtime[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true, force: true })
  })

  it('run a module of an OCI artifact with its arguments and variables, and say how it ended', async () => {
    const { exit, log } = await run(
      `#include <stdio.h>
       #include <stdlib.h>
       int main(int argc, char **argv) {
         printf("%d %s %s\\n", argc, argv[1], getenv("MINE"));
         fprintf(stderr, "%s\\n", getenv("NODE_OPTIONS"));
         return 7;
       }`,
      {
        args: ['one'],
        env: [
          ['MINE', 'mine'],
          ['NODE_OPTIONS', '--require=/guest/evil.js'],
        ],
      },
    )
    expect(exit).toMatchObject({ code: 7, reason: 'Error' })
    expect(log).toContain('2 one mine\n')
    expect(log).toContain('--require=/guest/evil.js\n')
    expect(runtime.version).toMatch(/^wasm:\/\/\d+/)
  })

  it('see their volumes and their own /tmp, and no file of the machine or of the box', async () => {
    const data = join(folder, 'data')
    mkdirSync(data)
    chmodSync(data, 0o777)
    writeFileSync(join(data, 'in'), 'given')
    const { log } = await run(
      `#include <stdio.h>
       #include <string.h>
       #include <errno.h>
       static void say(const char *path, const char *mode) {
         FILE *f = fopen(path, mode);
         char text[64] = "";
         if (f && *mode == 'r') fgets(text, 64, f);
         if (f && *mode == 'w') fputs("written", f);
         printf("%s %s: %s %s\\n", path, mode, f ? "yes" : strerror(errno), text);
         if (f) fclose(f);
       }
       int main() {
         say("/data/in", "r"); say("/data/out", "w"); say("/tmp/x", "w"); say("/new", "w"); say("/read-only/in", "r"); say("/read-only/y", "w");
         say("/etc/passwd", "r"); say("/../etc/passwd", "r"); say("/node", "r"); say("/proc/self/environ", "r"); say("/guest/data/in", "r");
         return 0;
       }`,
      {
        mounts: [
          { hostPath: data, containerPath: '/data', readOnly: false },
          { hostPath: data, containerPath: '/read-only', readOnly: true },
        ],
      },
    )
    const said = (path: string) => new RegExp(`^${path.replaceAll('.', '\\.')} \\w: (.*)$`, 'm').exec(log)?.[1]
    expect(said('/data/in')).toBe('yes given')
    expect(said('/read-only/in')).toBe('yes given')
    for (const path of ['/data/out', '/tmp/x']) expect(said(path), path).toMatch(/^yes/)
    for (const path of ['/new', '/read-only/y', '/../etc/passwd', '/node', '/proc/self/environ', '/guest/data/in']) {
      expect(said(path), path).not.toMatch(/^yes/)
    }
    // The image's own empty place for one is there; the machine's is not.
    expect(log).not.toContain('root:')
    expect(readFileSync(join(data, 'out'), 'utf8')).toBe('written')
  })

  it('stay in their memory, end by SIGTERM in an endless loop, and run no second command', async () => {
    const hog = await run(
      `#include <stdlib.h>
       volatile char *p;
       int main() { for (;;) { p = malloc(1 << 20); if (!p) return 3; for (int i = 0; i < 1 << 20; i += 4096) p[i] = 1; } }`,
      { resources: { memoryLimitBytes: 96 * 1024 * 1024 } },
    )
    expect(hog.exit).toMatchObject({ code: 137, reason: 'OOMKilled' })
    const id = await begin(
      '#include <stdio.h>\nint main() { puts("up"); fflush(stdout); for (volatile long i = 0;; i++); }',
    )
    await expect(runtime.exec(id, { command: ['/bin/sh'], stdin: false, tty: false }, signal)).rejects.toMatchObject({
      code: 'SLUICE_POD_EXEC',
      message: expect.stringContaining('no command can run beside it'),
    })
    await logSays((await view(id)).logPath, /up/, signal)
    await runtime.stopContainer(id, 30_000, signal)
    expect((await view(id)).exit).toMatchObject({ code: 143 })
  })

  it('say what is wrong with a file that is no module, a component, a library, and one that traps', async () => {
    await expect(begin(Buffer.from('no module'))).rejects.toMatchObject({
      message: expect.stringContaining('no WebAssembly module'),
    })
    const component = Buffer.from([0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0])
    await expect(begin(component)).rejects.toMatchObject({ message: expect.stringContaining('component') })
    const empty = Buffer.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0])
    expect(await run(empty)).toMatchObject({ exit: { code: 128 }, log: expect.stringContaining('exports no _start') })
    const trap = await run('int main() { __builtin_trap(); }')
    expect(trap).toMatchObject({ exit: { code: 134 }, log: expect.stringContaining('it trapped: unreachable') })
  })

  it('are taken up by the next agent, as all others', async () => {
    const id = await begin(
      '#include <stdio.h>\n#include <unistd.h>\nint main() { for (;;) { puts("on"); fflush(stdout); sleep(1); } }',
    )
    const { startedMs } = await view(id)
    await runtime[Symbol.asyncDispose]()
    runtime = openWasmRuntime({ folder: join(folder, 'wasm'), clock: systemClock, images, onTrouble: () => {} })
    expect(await view(id)).toMatchObject({ state: 'running', startedMs })
  })

  it('are not run as programs, and programs are not run as modules', async () => {
    const image = await take('int main() { return 0; }')
    expect(existsSync(join(images.rootOf(image.id), 'module.wasm'))).toBe(true)
    using native = busyboxImage()
    const [busybox] = await images.import(native.folder, undefined, signal)
    const sandbox = await runtime.createSandbox(plainSandbox(join(folder, 'logs')), signal)
    await expect(runtime.createContainer(sandbox.id, plainContainer(busybox!), signal)).rejects.toMatchObject({
      code: 'SLUICE_POD_START',
      message: expect.stringContaining('names no .wasm file'),
    })
  })
})
