import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { checkBluetooth } from './bluetooth.ts'
import type { Patient } from './check.ts'

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'sluice-doctor-ble-'))
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

function put(path: string, text = ''): void {
  const file = join(root, path)
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, text)
}

async function examine(changes: Partial<Patient> = {}): Promise<string[]> {
  const results = await checkBluetooth({
    root,
    data: join(root, 'data'),
    env: {},
    uid: 4242,
    groups: [4242],
    user: 'otto',
    platform: 'linux',
    nodeVersion: '24.1.0',
    nowMs: 0,
    ports: { api: 1, hub: 2 },
    signal: new AbortController().signal,
    ...changes,
  })
  return results.map(({ name, status, says, fix }) => [status, name, says, fix].filter(Boolean).join(' | '))
}

const gateway = () => {
  put('sys/class/bluetooth/hci0/rfkill1/soft', '0\n')
  put('sys/class/bluetooth/hci0/rfkill1/hard', '0\n')
  put('run/dbus/system_bus_socket')
  put('proc/77/comm', 'bluetoothd\n')
  put('etc/group', 'bluetooth:x:112:\n')
  put('proc/self/status', 'Name:\tnode\nCapEff:\t0000000000000000\n')
}

it('has nothing to say against a machine without Bluetooth', async () => {
  expect(await examine()).toEqual([expect.stringMatching(/^skip \| adapters \| none.*serial/)])
})

it('names the group that BlueZ wants, and is content once the user is in it', async () => {
  gateway()
  expect(await examine()).toContain(
    'warn | bluez:hci0 | otto is not in the group bluetooth | sudo usermod -aG bluetooth otto, then log in again',
  )
  expect(await examine({ groups: [4242, 112] })).toContain(
    'ok | bluez:hci0 | usable as this user, without any capability',
  )
})

it('asks for no group where the bus lets everybody speak to BlueZ', async () => {
  gateway()
  const policy = (rule: string) => `<policy user="root"><allow send_destination="org.bluez"/></policy>
  <policy context="default">${rule}</policy>`
  put('etc/dbus-1/system.d/bluetooth.conf', policy('<deny send_destination="org.bluez"/>'))
  expect((await examine()).join()).toContain('is not in the group')
  put('etc/dbus-1/system.d/bluetooth.conf', policy('<allow send_destination="org.bluez"/>'))
  expect((await examine()).join()).toContain('ok | bluez:hci0')
})

it('says which capabilities the raw adapter needs, and that BlueZ needs none', async () => {
  gateway()
  const raw = async () => (await examine()).find((line) => line.includes('| hci0 |'))
  expect(await raw()).toMatch(/^skip .* needs CAP_NET_RAW and CAP_NET_ADMIN .* bluez:hci0 needs neither/)
  put('proc/self/status', 'CapEff:\t0000000000002000\n')
  expect(await raw()).toMatch(/needs CAP_NET_ADMIN \(/)
  put('proc/self/status', 'CapEff:\t0000000000003000\n')
  expect(await raw()).toMatch(/^ok /)
})

it('sees an adapter that is switched off, a bus that is missing and a daemon that does not run', async () => {
  gateway()
  put('sys/class/bluetooth/hci0/rfkill1/soft', '1\n')
  rmSync(join(root, 'proc/77'), { recursive: true })
  const lines = await examine()
  expect(lines).toContain('fail | hci0 | switched off (rfkill) | rfkill unblock bluetooth')
  expect(lines.join()).toContain('systemctl enable --now bluetooth')
  rmSync(join(root, 'run'), { recursive: true })
  expect((await examine()).join()).toContain('the system bus is not there')
})
