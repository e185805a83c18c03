import type { ChildProcess } from 'node:child_process'
import { Duplex } from 'node:stream'
import { SluiceError } from '../../../api/errors.ts'

/** Connects and copies; says on its error output when it is connected. Fixed text: the port is an argument. */
const RELAY = `
const socket = require('node:net').connect({ port: Number(process.argv[1]), host: 'localhost', allowHalfOpen: true })
socket.on('connect', () => { process.stderr.write('connected\\n'); process.stdin.pipe(socket); socket.pipe(process.stdout) })
socket.on('error', (error) => { process.stderr.write(error.message); process.exitCode = 1; process.stdin.destroy() })
`

/** A program that connects to a port of whatever network it is started in; the port comes behind it. */
export const RELAY_ARGUMENTS: readonly string[] = [
  process.execPath,
  '--max-semi-space-size=1',
  '--single-threaded',
  '-e',
  RELAY,
]

/** The connection that such a program makes. Throws `SLUICE_POD_PORT` when nothing listens there. */
export function connectThrough(child: ChildProcess, port: number, signal: AbortSignal): Promise<Duplex> {
  const { stdin, stdout, stderr } = child
  if (stdin === null || stdout === null || stderr === null) throw new TypeError('a relay needs all three pipes')
  const end = () => child.kill('SIGKILL')
  signal.addEventListener('abort', end, { once: true })
  return new Promise((resolve, reject) => {
    let said = ''
    stderr.on('data', (chunk: Buffer) => {
      said = (said + chunk.toString('utf8')).slice(0, 1024)
      if (!said.startsWith('connected\n')) return
      const duplex = Duplex.from({ writable: stdin, readable: stdout })
      duplex.once('close', end)
      // Whoever lets go of it early is told by its own signal.
      duplex.on('error', () => {})
      resolve(duplex)
    })
    stdin.on('error', () => {})
    child.once('error', reject)
    child.once('exit', () => {
      signal.removeEventListener('abort', end)
      reject(
        new SluiceError('SLUICE_POD_PORT', `Nothing listens on port ${port} of the pod: ${said.trim()}`, {
          hint: 'Check the port, and that the program listens on localhost or all addresses.',
        }),
      )
    })
  })
}
