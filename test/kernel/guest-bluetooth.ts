import { type ChildProcess, execFile, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import { startBtvirt } from '../../hil/radio/btvirt.ts'
import { startPeripheral } from '../../hil/radio/peripheral-process.ts'

/**
 * Runs inside the guest of `guest-machine.ts`, as root on a kernel of its own: loads the Bluetooth drivers, starts a system
 * bus, bluetoothd and BlueZ's emulated controllers, and then what is looked at (`bluetooth-client.ts`) as ordinary users.
 */

const run = promisify(execFile)
const children: ChildProcess[] = []
const say = (text: string) => process.stdout.write(`SLUICE say ${text}\n`)
const result = (name: string, value: unknown) =>
  process.stdout.write(`SLUICE result ${name} ${JSON.stringify(value)}\n`)

const ADVERTISERS = 20
const USER = '12345'
const AS_USER = ['--reuid', USER, '--regid', USER]
const WITHOUT_RIGHTS = ['--init-groups', '--inh-caps=-all']
/** What raw HCI sockets take, and nothing else. */
const WITH_NETWORK_RIGHTS = [
  ...['--clear-groups', '--inh-caps=-all,+net_raw,+net_admin'],
  '--ambient-caps=+net_raw,+net_admin',
]

function start(command: string, ...argv: string[]): ChildProcess {
  const child = spawn(command, argv, { stdio: ['pipe', 'inherit', 'inherit'] })
  children.push(child)
  return child
}

async function until<T>(what: string, seconds: number, look: () => Promise<T | undefined> | T | undefined): Promise<T> {
  for (const endMs = performance.now() + seconds * 1000; performance.now() < endMs; await pause(100)) {
    const found = await look()
    if (found !== undefined) return found
  }
  throw new Error(`${what} did not come within ${seconds} s`)
}

/** What is looked at, in a process without rights; `how` says as whom. */
async function client(how: readonly string[], role: string, ...argv: string[]): Promise<void> {
  say(role)
  const program = new URL('./bluetooth-client.ts', import.meta.url).pathname
  const child = start('setpriv', ...AS_USER, ...how, process.execPath, program, role, ...argv)
  const code = await new Promise((resolve) => child.once('exit', resolve))
  if (code !== 0) throw new Error(`${role} ended with ${String(code)}`)
}

/** Ports of controllers of our own on one air, with advertisers that speak BTHome once a second. */
async function radioPorts(advertisers: number, macs: readonly string[]): Promise<readonly string[]> {
  const child = fork(new URL('./radio-main.ts', import.meta.url), [macs.join(','), String(advertisers), '1000', 'data'])
  children.push(child)
  const [message] = await once(child, 'message')
  const paths: unknown = Reflect.get(Object(message), 'paths')
  return Array.isArray(paths) ? paths.map(String) : []
}

/** It waits for more to do when it is done. */
async function btmgmt(...argv: string[]): Promise<string> {
  const done = await run('timeout', ['10', 'btmgmt', ...argv]).catch((error: unknown) => Object(error))
  return `${done.stdout}${done.stderr}`
}

async function addressOf(adapter: string): Promise<string> {
  const { stdout } = await run('hciconfig', [adapter])
  return /BD Address: (\S+)/.exec(stdout)?.[1] ?? ''
}

/** A device that gives its value only to whoever has paired with it: BlueZ's own bluetoothctl, on an adapter of its own. */
async function lock(adapter: string): Promise<AsyncDisposable & { readonly pairings: () => number }> {
  let pairings = 0
  const child = spawn('bluetoothctl', ['--agent', 'NoInputNoOutput'], { stdio: ['pipe', 'pipe', 'inherit'] })
  children.push(child)
  child.stdout.setEncoding('latin1').on('data', (text: string) => {
    process.stdout.write(text)
    // It shows what it is asked, and a person says yes.
    pairings += text.match(/Paired: yes/g)?.length ?? 0
    if (/(Accept|Confirm|Authorize)[^\n]*\(yes\/no\)/.test(text)) child.stdin.write('yes\n')
  })
  const lines = [
    ...[`select ${await addressOf(adapter)}`, 'default-agent', 'pairable on'],
    ...['menu gatt', 'register-service 0000fff0-0000-1000-8000-00805f9b34fb', 'yes'],
    ...['register-characteristic 0000fff1-0000-1000-8000-00805f9b34fb encrypt-read', '0x2a', 'register-application'],
    ...['back', 'advertise on'],
  ]
  for (const line of lines) {
    await pause(1500)
    child.stdin.write(`${line}\n`)
  }
  await pause(2000)
  return { pairings: () => pairings, [Symbol.asyncDispose]: async () => void child.kill() }
}

async function main(): Promise<void> {
  say('loading drivers')
  for (const module of ['bluetooth', 'hci_vhci', 'hci_uart', 'algif_hash', 'algif_skcipher', 'cmac', 'ecb'])
    await run('modprobe', [module])
  result(
    'modules',
    readFileSync('/proc/modules', 'latin1')
      .split('\n')
      .map((line) => line.split(' ')[0])
      .filter((name) => /^(bluetooth|hci_|af_alg)/.test(name ?? '')),
  )
  await run('/bin/busybox', ['ip', 'link', 'set', 'lo', 'up'])
  // A bus talks only to users it can look up. The files are the guest's own.
  appendFileSync('/etc/passwd', `gateway:x:${USER}:${USER}::/tmp:/usr/sbin/nologin\n`)
  const groups = readFileSync('/etc/group', 'latin1')
  writeFileSync('/etc/group', `${groups.replace(/^bluetooth:.*$/m, '$&gateway')}gateway:x:${USER}:\n`)
  mkdirSync('/run/dbus', { recursive: true })
  rmSync('/var/lib/bluetooth', { recursive: true, force: true })
  mkdirSync('/var/lib/bluetooth', { recursive: true, mode: 0o700 })
  say('starting btvirt')
  await using _emulator = await startBtvirt(2)
  const adapters = await until('two adapters', 60, () => {
    const names = readdirSync('/sys/class/bluetooth')
    return names.length === 2 ? names : undefined
  })
  result('adapters', adapters)
  start('dbus-daemon', '--system', '--nofork', '--nopidfile')
  await until('the bus', 20, () => (existsSync('/run/dbus/system_bus_socket') ? true : undefined))
  const daemon = start('/usr/sbin/bluetoothd', '-n')
  say('starting a radio of ours')
  const [central, side] = await radioPorts(0, ['C0:00:00:00:00:01', 'C0:00:00:00:00:10'])
  await using peripheral = await startPeripheral(side!, 'thermometer')
  start('btattach', '-B', central!, '-P', 'h4')
  await until('the attached adapter', 30, () => (readdirSync('/sys/class/bluetooth').length === 3 ? true : undefined))
  let hundredths = 2150
  const warming = setInterval(() => peripheral.tell({ temperature: ++hundredths }), 1000)
  using _warming = { [Symbol.dispose]: () => clearInterval(warming) }
  await client(WITHOUT_RIGHTS, 'bluez', 'bluez:hci2', peripheral.mac)
  const [crowd, uart] = await radioPorts(ADVERTISERS, ['C0:00:00:00:01:01', 'C0:00:00:00:01:02'])
  start('btattach', '-B', crowd!, '-P', 'h4')
  await until('one more', 30, () => (readdirSync('/sys/class/bluetooth').length === 4 ? true : undefined))
  await client(WITHOUT_RIGHTS, 'adverts', 'bluez:hci3')
  // This kernel's elliptic curves do not pass their own test on an emulated processor: pairing as before 4.2.
  for (const index of ['0', '1']) process.stdout.write(await btmgmt('--index', index, 'sc', 'off'))
  await using friend = await lock('hci1')
  await client(WITHOUT_RIGHTS, 'bond', 'bluez:hci0', await addressOf('hci1'))
  result('pairings', friend.pairings())
  daemon.kill()
  await new Promise((resolve) => daemon.once('exit', resolve))
  await run('hciconfig', ['hci2', 'up'])
  await client(WITH_NETWORK_RIGHTS, 'hci', 'hci2', peripheral.mac)
  chownSync(uart!, Number(USER), Number(USER))
  await client(WITHOUT_RIGHTS, 'adverts', uart!)
  for (const child of children) child.kill()
}

try {
  await main()
} catch (error) {
  process.stdout.write(`${error instanceof Error ? error.stack : String(error)}\n`)
  process.exit(1)
}
process.exit(0)
