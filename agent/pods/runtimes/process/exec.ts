import { closeSync, openSync, readFileSync } from 'node:fs'
import { PassThrough, type Readable, type Writable } from 'node:stream'
import { StringDecoder } from 'node:string_decoder'
import { SluiceError } from '../../../../api/errors.ts'
import type { ExecOptions, ExecSession, WindowSize } from '../runtime.ts'
import { restArguments } from './arguments.ts'
import type { Container, Surroundings } from './container.ts'
import { CLEAN_ENVIRONMENT, FD, handedOver, launch, wayIn } from './launch.ts'

let counter = 0

/**
 * A command beside the program of a container: a second box with the same files, processes, network, user, limits and
 * filter. It has no more rights than the program itself.
 */
export async function execIn(
  around: Surroundings,
  container: Container,
  options: ExecOptions,
  signal: AbortSignal,
): Promise<ExecSession> {
  signal.throwIfAborted()
  const { tools, groups, memoryFolder, seccompFile } = around
  const { record, sandbox } = container
  if (options.command.length === 0) throw new SluiceError('SLUICE_POD_EXEC', 'No command was given')
  groups.expectChange()
  using files = new DisposableStack()
  const opened = (path: string) => {
    const fd = openSync(path, 'r')
    files.defer(() => closeSync(fd))
    return fd
  }
  const doors = await container.doors(opened, signal)
  const seccomp = seccompFile === undefined || record.unconfinedSeccomp ? undefined : opened(seccompFile)
  const filter = seccomp === undefined ? undefined : FD.seccomp
  const args = [...record.box, ...restArguments(environmentOf(container.program), filter)]
  const handed = files.use(handedOver(memoryFolder, `exec-${++counter}`, args.map((each) => `${each}\0`).join('')))
  const command = [
    ...wayIn(tools, {
      ...sandbox.way,
      groups: record.groups ?? [],
      joinFiles: groups.joinFiles(container.group),
      oomScoreAdj: record.oomScoreAdj,
    }),
    ...[tools.bwrap, '--userns', String(FD.userNamespace)],
    ...(sandbox.record.spec.hostPid ? [] : ['--pidns', String(FD.pidNamespace)]),
    ...['--die-with-parent', ...(options.tty ? [] : ['--new-session']), '--args', String(FD.args), '--'],
    ...options.command,
  ]
  const handedOn = ['ignore', 'ignore', handed.fd, seccomp ?? 'ignore', ...doors] as const
  if (options.tty) return await withTerminal(command, options, handedOn, files.move(), signal)
  const child = launch({
    command,
    stdio: [options.stdin ? 'pipe' : 'ignore', 'pipe', 'pipe', ...handedOn],
  })
  const end = () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
  }
  signal.addEventListener('abort', end, { once: true })
  const exited = new Promise<number>((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (code, name) => {
      signal.removeEventListener('abort', end)
      resolve(code ?? (name === null ? 1 : 137))
    })
  })
  exited.catch(() => undefined)
  // A command that ends before it has read everything is no error of ours.
  child.stdin?.on('error', () => {})
  return {
    stdin: child.stdin ?? undefined,
    stdout: child.stdout as Readable,
    stderr: child.stderr as Readable,
    resize: () => {},
    exited,
    async [Symbol.asyncDispose]() {
      end()
      await exited.catch(() => undefined)
    },
  }
}

/**
 * With a terminal of the agent's: node-pty starts programs without other open files, so a shell line of fixed text opens
 * them again from this process, which still has them.
 */
async function withTerminal(
  command: readonly string[],
  options: ExecOptions,
  handedOn: readonly ('ignore' | number)[],
  files: DisposableStack,
  signal: AbortSignal,
): Promise<ExecSession> {
  using untilStarted = files
  const pty = await loadPty()
  const opening = handedOn.flatMap((fd, at) => (fd === 'ignore' ? [] : [[at + FD.status, fd] as const]))
  const script = `${opening.map(([to, from]) => `exec ${to}</proc/$PPID/fd/${from}`).join('\n')}\nexec "$@"`
  const terminal = pty.spawn('/bin/sh', ['-c', script, 'sh', ...command], {
    name: 'xterm-256color',
    cols: options.size?.columns ?? 80,
    rows: options.size?.rows ?? 24,
    cwd: '/',
    env: CLEAN_ENVIRONMENT,
    encoding: null,
  })
  // They are opened by the shell some time after this, so they stay until the end.
  const open = untilStarted.move()
  const output = new PassThrough()
  terminal.onData((data) => {
    if (!output.write(data)) terminal.pause()
  })
  output.on('drain', () => terminal.resume())
  const exited = new Promise<number>((resolve) => {
    terminal.onExit(({ exitCode, signal: by }) => {
      output.end()
      open.dispose()
      resolve(by ? 128 + by : exitCode)
    })
  })
  const input = new PassThrough()
  const decoder = new StringDecoder('utf8')
  input.on('data', (data: Buffer) => terminal.write(decoder.write(data)))
  // The end of input on a terminal is a character.
  input.on('end', () => terminal.write('\u0004'))
  const end = () => {
    try {
      terminal.kill('SIGKILL')
    } catch {
      // It has ended.
    }
  }
  signal.addEventListener('abort', end, { once: true })
  void exited.then(() => signal.removeEventListener('abort', end))
  return {
    stdin: options.stdin ? (input as Writable) : undefined,
    stdout: output,
    stderr: undefined,
    resize: ({ columns, rows }: WindowSize) => terminal.resize(Math.max(1, columns), Math.max(1, rows)),
    exited,
    async [Symbol.asyncDispose]() {
      end()
      await exited
    },
  }
}

/** Variables of the program that the container was started with, as they were then. */
function environmentOf(program: number | undefined): [string, string][] {
  const text = program === undefined ? '' : readFileSync(`/proc/${program}/environ`, 'utf8')
  return text.split('\0').flatMap((line): [string, string][] => {
    const equals = line.indexOf('=')
    return equals > 0 ? [[line.slice(0, equals), line.slice(equals + 1)]] : []
  })
}

async function loadPty(): Promise<typeof import('@lydell/node-pty')> {
  try {
    return await import('@lydell/node-pty')
  } catch (cause) {
    throw new SluiceError(
      'SLUICE_POD_NO_TERMINAL',
      'This gateway has no terminals: @lydell/node-pty is not installed',
      {
        hint: 'Run the command without -t, or install the optional package for this platform.',
        cause,
      },
    )
  }
}
