import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

export const MOCK_BLUEZ_MISSING = 'apt-get install dbus-daemon python3-dbusmock'
const PYTHON = '/usr/bin/python3'
const DBUSMOCK = '/usr/lib/python3/dist-packages/dbusmock'

/** Whether a bus can be started here. */
export const hasBus = (): boolean => daemon() !== undefined

/** Whether a bus and somebody else's BlueZ can be started here. */
export const hasMockBluez = (): boolean => hasBus() && existsSync(PYTHON) && existsSync(DBUSMOCK)

const daemon = () => ['/usr/bin/dbus-daemon', '/bin/dbus-daemon'].find((path) => existsSync(path))

const BUS_CONFIG = (socket: string) => `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=${socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/><allow send_type="signal"/>
  </policy>
</busconfig>
`

/**
 * A real dbus-daemon on a socket of its own, with the `org.bluez` of python-dbusmock on it: everything that speaks on that
 * bus but us is somebody else's code. What the mock lacks (GATT) a test adds through `org.freedesktop.DBus.Mock`.
 */
export interface MockBluez extends AsyncDisposable {
  readonly busPath: string
  /** Ends the service as a crash does, or the whole bus. */
  kill(what: 'bluez' | 'bus'): Promise<void>
}

/** A real dbus-daemon on a socket of its own, with nobody on it. */
export interface Bus extends AsyncDisposable {
  readonly busPath: string
  kill(): Promise<void>
}

export async function startBus(): Promise<Bus> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-bus-'))
  const busPath = join(folder, 'bus')
  const config = join(folder, 'bus.conf')
  await writeFile(config, BUS_CONFIG(busPath))
  const bus = spawn(daemon() ?? 'dbus-daemon', [`--config-file=${config}`, '--nofork', '--print-address'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  await line(bus)
  return {
    busPath,
    kill: () => end(bus, 'SIGKILL'),
    async [Symbol.asyncDispose]() {
      await end(bus, 'SIGTERM')
      await rm(folder, { recursive: true, force: true })
    },
  }
}

export async function startMockBluez(): Promise<MockBluez> {
  const bus = await startBus()
  const { busPath } = bus
  const env = { ...process.env, DBUS_SYSTEM_BUS_ADDRESS: `unix:path=${busPath}`, PYTHONUNBUFFERED: '1' }
  const bluez = spawn(PYTHON, ['-c', MOCK], { stdio: ['pipe', 'pipe', 'inherit'], env })
  await line(bluez)
  return {
    busPath,
    kill: (what) => (what === 'bus' ? bus.kill() : end(bluez, 'SIGKILL')),
    async [Symbol.asyncDispose]() {
      await end(bluez, 'SIGKILL')
      await bus[Symbol.asyncDispose]()
    },
  }
}

/** python-dbusmock's own main program, which says a word when it has its name, and ends with us. */
const MOCK = `
import sys, threading, os
import dbus, dbus.mainloop.glib, dbusmock
from gi.repository import GLib
dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
bus = dbus.SystemBus()
name = dbus.service.BusName('org.bluez', bus, allow_replacement=False, replace_existing=False, do_not_queue=True)
main = dbusmock.mockobject.DBusMockObject(name, '/', 'org.freedesktop.DBus.ObjectManager', {}, None, True)
dbusmock.mockobject.objects['/'] = main
main.AddTemplate('bluez5', {})
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
print('ready')
GLib.MainLoop().run()
`

function line(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    if (child.stdout === null) return reject(new Error('no output to wait for'))
    createInterface({ input: child.stdout }).once('line', () => resolve())
    child.once('error', reject)
    child.once('exit', (code) => reject(new Error(`${child.spawnfile} ended with ${code}`)))
  })
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  child.kill(signal)
  await gone
}
