import { account, longestSilence, type RoamingHall } from './far-side/roaming-hall.ts'
import { type BenchOptions, type Figure, percentile } from './harness.ts'

const bench = 'roaming'
const INTERVAL_MS = 50
const pause = (durationMs: number) => new Promise((resolve) => setTimeout(resolve, durationMs))

/**
 * Two agents hear one tag over noble and a virtual radio; a subscriber of the cloud sees its values. The tag sends a
 * number every 50 ms. Measured around each change of hands: the longest time without a value, values that never came,
 * values that came twice; and how long a twin is nobody's when its device is moved, median of ${switches.length} (worst ${worstMs.toFixed(2)} ms)`, value: switchMs },
      ...{ unit: 'ms', budget: '<= 1 ms', ok: switches.length >= moves && switchMs <= 1 },
    },
  ]
}

/** How long each change of the gateway that serves took, from the old one's to the new one's. */
function switchTimes({ core }: RoamingHall): number[] {
  const times: number[] = []
  const { fleet } = core
  const assign = fleet.assign.bind(fleet)
  fleet.assign = (record, gateway, tenure) => {
    const changes = record.gateway !== gateway
    const startMs = performance.now()
    assign(record, gateway, tenure)
    if (changes) times.push(performance.now() - startMs)
  }
  return times
}

async function handOvers(
  hall: RoamingHall,
  count: number,
  provoke: (near: string, far: string) => void,
): Promise<number[]> {
  const silences: number[] = []
  for (let round = 0; round < count; round++) {
    const far = hall.serving!
    const near = far === 'gw-a' ? 'gw-b' : 'gw-a'
    const startMs = performance.now()
    provoke(near, far)
    await hall.until(() => hall.serving === near, `${near} takes over`)
    await pause(1000)
    silences.push(longestSilence(hall.arrivals, startMs - 500, performance.now()))
    await hall.until(() => hall.core.hub.session(far)?.epoch !== undefined, `${far} is linked`)
    await pause(1000)
  }
  return silences
}
