import type { Clock } from '../../api/clock.ts'
import { openPtyPair, type PtyPair } from '../pty.ts'
import { Air } from './air.ts'
import { type ControllerOptions, VirtualController } from './controller.ts'

/** A controller on a pseudo-terminal: foreign stacks open `path` as an HCI UART. */
export interface RadioPort {
  readonly path: string
  readonly mac: string
  readonly controller: VirtualController
  /** Pulls the adapter out: whoever has the port open sees it hang up, whoever was connected a time-out. */
  unplug(): Promise<void>
}

export interface VirtualRadio extends AsyncDisposable {
  readonly air: Air
  readonly ports: ReadonlySet<RadioPort>
  add(options: ControllerOptions): RadioPort
}

const RETRY_MS = 1

/** An air with controllers on pseudo-terminals. No process, no kernel Bluetooth and no root needed. */
export function virtualRadio(clock: Clock, random: () => number): VirtualRadio {
  const air = new Air(clock, random)
  const neighbours = new Map<string, VirtualController>()
  const ports = new Set<RadioPort>()
  const add = (options: ControllerOptions): RadioPort => {
    const pty = openPtyPair()
    const send = patientWriter(pty, air)
    const mac = options.mac.toUpperCase()
    const controller = new VirtualController(air, neighbours, { ...options, mac }, send)
    pty.onData((chunk) => controller.push(chunk))
    const port: RadioPort = {
      path: pty.path,
      mac,
      controller,
      async unplug() {
        if (!ports.delete(port)) return
        controller.die()
        await pty[Symbol.asyncDispose]()
      },
    }
    ports.add(port)
    return port
  }
  return {
    air,
    ports,
    add,
    async [Symbol.asyncDispose]() {
      await Promise.all([...ports].map((port) => port.unplug()))
      air.close()
    },
  }
}

/**
 * HCI has no way to repair a lost byte, and a pseudo-terminal holds only a few kilobytes: what it does not take at once
 * waits. Packets of one turn of the event loop go out together.
 */
function patientWriter(pty: PtyPair, air: Air): (bytes: Uint8Array) => void {
  let waiting: Uint8Array[] = []
  let scheduled = false
  const flush = () => {
    scheduled = false
    const bytes = waiting.length === 1 ? waiting[0]! : Buffer.concat(waiting)
    const taken = pty.write(bytes)
    waiting = taken < bytes.length ? [bytes.subarray(taken)] : []
    if (waiting.length === 0) return
    scheduled = true
    air.after(RETRY_MS, flush)
  }
  return (bytes) => {
    waiting.push(bytes)
    if (scheduled) return
    scheduled = true
    setImmediate(flush)
  }
}
