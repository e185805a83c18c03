import type { Clock } from '../../../../api/clock.ts'
import type { EngineWords } from '../engine-events.ts'
import { type PodmanApi, textAt } from './api.ts'
import { LABEL_OWNER } from './specs.ts'
import type { States } from './states.ts'

/** podman notices an end by itself only when its clean-up after a container works; else when somebody looks. */
export const LOOK_MS = 5000
const BEFORE_S = 5

/** How podman tells of containers of ours that began or ended. */
export const eventWords = (api: PodmanApi, states: States, clock: Clock, owner: string): EngineWords<unknown> => ({
  listen: (signal) => {
    const filters = JSON.stringify({ type: ['container'], label: [`${LABEL_OWNER}=${owner}`] })
    // From before now: what happened while nobody listened, or before podman had the question, is told again.
    const since = Math.floor(clock.now() / 1000) - BEFORE_S
    return api.listen('/events', { signal, query: { stream: true, filters, since } })
  },
  ask: (signal) => api.call('GET', '/_ping', { signal }),
  ended(event) {
    const action = textAt(event, 'Action') || textAt(event, 'status')
    return action === 'died' ? textAt(event, 'Actor', 'ID') : undefined
  },
  running: (id, signal) => states.running(id, signal),
})
