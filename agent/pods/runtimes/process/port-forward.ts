import { spawn } from 'node:child_process'
import { Duplex } from 'node:stream'
import { SluiceError } from '../../../../api/errors.ts'
import { CLEAN_ENVIRONMENT, type Way, wayIn } from './launch.ts'
import type { Tools } from './tools.ts'

/** Connects and copies; says on its error output when it is connected. Fixed text: the port is an argument. */
const RELAY = `
const socket = require('node:net').connect({ port: Number(process.argv[1]), host: 'localhost', allowHalfOpen: true })
socket.on('connect', () => { process.stderr.write('connected\\n'); process.stdin.pipe(socket); socket.pipe(process.stdout) })
socket.on('error', (error) => { process.stderr.write(error.message); process.exitCode = 1; process.stdin.destroy() })
`

/** A connection to a port inside of a sandbox, by a program of its own: a network cannot be entered by one part of a process. */
export function forwardInto(tools: Tools, way: Way, port: number, signal: AbortSignal): Promise<Duplex> {
  const [program, ...before] = wayIn(tools, way)
  const child = spawn(
    program!,
    [...before, process.execPath, '--max-semi-space-size=1', '--single-threaded', '-e', RELAY, String(port)],
    { env: CLEAN_ENVIRONMENT, cwd: '/', stdio: ['pipe', 'pipe', 'pipe'], detached: true },
  )
  const end = () => child.kill('SIGKILL')
  signal.addEventListener('abort', end, { once: true })
  return new Promise((resolve, reject) => {
    let said = ''
    child.stderr.on('data', (chunk: Buffer) => {
      said = (said + chunk.toString('utf8')).slice(0, 1024)
      if (!said.startsWith('connected\n')) return
      const duplex = Duplex.from({ writable: child.stdin, readable: child.stdout })
      duplex.once('close', end)
      // Whoever lets go of it early is told by its own signal.
      duplex.on('error', () => {})
      resolve(duplex)
    })
    child.stdin.on('error', () => {})
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
