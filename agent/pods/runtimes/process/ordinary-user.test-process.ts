import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock } from '../../../../api/clock.ts'
import { logSays, plainContainer, plainSandbox } from '../specs.test-helper.ts'
import { ProcessRuntime } from './runtime.ts'

/** A pod of an ordinary user, from its image to its end; says what came of it. Folder, image archive. */
const [folder = '', archive = ''] = process.argv.slice(2)
const signal = AbortSignal.timeout(30_000)
await using runtime = new ProcessRuntime({
  folder: join(folder, 'pods'),
  clock: systemClock,
  onTrouble: (error) => {
    throw error
  },
})
await runtime.images.import(archive, undefined, signal)
const logs = join(folder, 'logs')
mkdirSync(logs)
const sandbox = await runtime.createSandbox(plainSandbox(logs), signal)
try {
  const image = (await runtime.images.find('test/busybox:1'))!
  const command = ['/bin/sh', '-c', 'id -u; touch /etc/x; ls /proc | grep -c "^[0-9]"; echo up; exec sleep 60']
  const id = await runtime.createContainer(sandbox.id, plainContainer(image, { command }), signal)
  await runtime.startContainer(id, signal)
  const [view] = (await runtime.list()).flatMap(({ containers }) => containers)
  await logSays(view!.logPath, /up/, signal)
  await using session = await runtime.exec(id, { command: ['true'], stdin: false, tty: false }, signal)
  const exec = await session.exited
  await runtime.stopContainer(id, 1000, signal)
  console.log(JSON.stringify({ uid: process.getuid!(), exec, said: readFileSync(view!.logPath, 'utf8') }))
} finally {
  await runtime.removeSandbox(sandbox.id, signal)
}
