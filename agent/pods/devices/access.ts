import { realpathSync } from 'node:fs'
import type { Clock } from '../../../api/clock.ts'
import type { ObjectKey } from '../../../api/resources.ts'
import type { AgentCore } from '../../core.ts'
import { deviceView } from '../../twin/views.ts'
import type { TwinAccess } from './twin-socket.ts'

/** What the sockets of twins may do with the agent. */
export function twinAccess(core: AgentCore, clock: Clock, gateway: string): TwinAccess {
  const listeners = new Map<ObjectKey, Set<() => void>>()
  let stop: (() => void) | undefined
  const wake = (key: ObjectKey) => {
    for (const one of listeners.get(key) ?? []) one()
  }
  return {
    clock,
    view: (key) => {
      const device = core.engine.devices.get(key)
      return device === undefined ? undefined : deviceView(device, gateway)
    },
    desire: (key, property, value, by) => core.desire(key, property, value, by),
    onChange(key, listener) {
      // Nobody listens on most gateways: readings are not looked at for them.
      stop ??= core.onReadings((batch) => {
        for (const each of new Set(batch.map(({ device }) => device))) wake(each)
      })
      const held = listeners.get(key) ?? new Set()
      listeners.set(key, held.add(listener))
      const names = [...(core.engine.devices.get(key)?.properties.keys() ?? [])]
      const ends = names.map((name) => core.engine.onEnded(key, name, listener))
      return () => {
        for (const end of ends) end()
        held.delete(listener)
        if (held.size === 0) listeners.delete(key)
        if (listeners.size > 0) return
        stop?.()
        stop = undefined
      }
    },
  }
}

/** The device of this gateway whose description names a serial line, under whatever name. */
export function userOfLine(core: AgentCore, path: string): string | undefined {
  for (const { key, spec } of core.engine.devices.values()) {
    if (spec.paused !== true && pathsIn(spec).some((named) => realPath(named) === path)) return key
  }
  return undefined
}

function pathsIn(value: unknown): string[] {
  if (typeof value === 'string') return value.startsWith('/dev/') ? [value] : []
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(pathsIn) : []
}

function realPath(path: string): string {
  try {
    return realpathSync(path)
  } catch {
    return path
  }
}
