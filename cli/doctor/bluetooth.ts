import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { type Check, type CheckResult, type Patient, reporter } from './check.ts'
import { readText } from './machine.ts'

const report = reporter('bluetooth')
const BUS = 'run/dbus/system_bus_socket'
/** Who may speak to BlueZ, where distributions keep it. */
const POLICIES = ['etc/dbus-1/system.d/bluetooth.conf', 'usr/share/dbus-1/system.d/bluetooth.conf']
/** Numbers of capabilities(7). */
const CAP_NET_ADMIN = 12
const CAP_NET_RAW = 13
const ROOT_UID = 0

const list = (folder: string): string[] => {
  try {
    return readdirSync(folder).sort()
  } catch {
    return []
  }
}

/** Which of the three ways to a Bluetooth adapter this user may go: BlueZ, the kernel's HCI socket, HCI on a serial port. */
export const checkBluetooth: Check = async (patient) => {
  if (patient.platform !== 'linux') return [report.skip('adapters', 'not on this system')]
  const found = list(join(patient.root, 'sys/class/bluetooth')).filter((name) => /^hci\d+$/.test(name))
  if (found.length === 0) {
    const says = 'none; an HCI controller on a serial port needs no more than that port (see serial)'
    return [report.skip('adapters', says)]
  }
  const blocked = found.flatMap((name) => switchedOff(name, patient.root))
  return [...blocked, throughBluez(found, patient), throughSocket(found, patient)]
}

function switchedOff(name: string, root: string): CheckResult[] {
  const folder = join(root, 'sys/class/bluetooth', name)
  const is = (rfkill: string, what: string) => readText(join(folder, rfkill, what))?.trim() === '1'
  return list(folder)
    .filter((entry) => /^rfkill\d+$/.test(entry))
    .flatMap((rfkill) => {
      if (is(rfkill, 'hard')) return [report.fail(name, 'switched off by a switch of the machine', 'Turn it on there.')]
      return is(rfkill, 'soft') ? [report.fail(name, 'switched off (rfkill)', 'rfkill unblock bluetooth')] : []
    })
}

/** Some distributions let everybody speak to BlueZ, others the group `bluetooth` only: the bus's own policy says. */
function throughBluez(found: readonly string[], { root, uid, groups, user }: Patient): CheckResult {
  const adapter = `bluez:${found[0]}`
  if (!existsSync(join(root, BUS))) {
    const fix = 'sudo apt-get install dbus bluez; in a container mount /run/dbus/system_bus_socket.'
    return report.warn(adapter, 'the system bus is not there', fix)
  }
  const running = list(join(root, 'proc')).some(
    (pid) => /^\d+$/.test(pid) && readText(join(root, 'proc', pid, 'comm'))?.trim() === 'bluetoothd',
  )
  // Processes of other containers cannot be seen from inside one; the bus may still reach them.
  if (!running) {
    return report.warn(adapter, 'bluetoothd is not seen running', 'sudo systemctl enable --now bluetooth')
  }
  const line = (readText(join(root, 'etc/group')) ?? '').split('\n').find((each) => each.startsWith('bluetooth:'))
  const gid = Number(line?.split(':')[2])
  if (uid === ROOT_UID || line === undefined || groups.includes(gid) || letsEverybodyIn(root)) {
    return report.ok(adapter, 'usable as this user, without any capability')
  }
  const fix = `sudo usermod -aG bluetooth ${user}, then log in again`
  return report.warn(adapter, `${user} is not in the group bluetooth`, fix)
}

function letsEverybodyIn(root: string): boolean {
  return POLICIES.some((path) => {
    const policy = /<policy context="default">([\s\S]*?)<\/policy>/.exec(readText(join(root, path)) ?? '')?.[1]
    return policy?.includes('<allow send_destination="org.bluez"/>') === true
  })
}

function throughSocket(found: readonly string[], { root }: Patient): CheckResult {
  const adapter = found[0] ?? 'hci0'
  const text = /^CapEff:\s+([0-9a-f]+)$/m.exec(readText(join(root, 'proc/self/status')) ?? '')?.[1]
  if (text === undefined) return report.skip(adapter, 'this system does not say which capabilities a process has')
  const has = (capability: number) => ((BigInt(`0x${text}`) >> BigInt(capability)) & 1n) === 1n
  const missing = [...(has(CAP_NET_RAW) ? [] : ['CAP_NET_RAW']), ...(has(CAP_NET_ADMIN) ? [] : ['CAP_NET_ADMIN'])]
  if (missing.length === 0) return report.ok(adapter, 'usable: CAP_NET_RAW and CAP_NET_ADMIN are there')
  // Nothing is wrong with a gateway that goes through BlueZ: not a warning.
  return report.skip(
    adapter,
    `the raw adapter needs ${missing.join(' and ')} (AmbientCapabilities= in the unit); bluez:${adapter} needs neither`,
  )
}
