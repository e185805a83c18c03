import { execFileSync } from 'node:child_process'
import { randomBytes, randomInt } from 'node:crypto'
import { existsSync } from 'node:fs'

/** Namespaces of gateways, and a way from them to this machine. */
export interface Bridge extends Disposable {
  /** Of this machine, as the namespaces reach it. */
  readonly address: string
  /** The command line that runs something inside of the `index`th namespace. */
  namespace(index: number): readonly string[]
}

/** One bridge with this machine at one end, and a namespace at each of the others. */
export function openBridge(): Bridge {
  const ip = (...args: readonly string[]) => execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] })
  const run = randomBytes(2).toString('hex')
  const range = claimRange((bridge) => ip('link', 'add', bridge, 'type', 'bridge'))
  const bridge = bridgeOf(range)
  const prefix = `10.231.${range}`
  const names: string[] = []
  ip('addr', 'add', `${prefix}.1/24`, 'dev', bridge)
  ip('link', 'set', bridge, 'up')
  return {
    address: `${prefix}.1`,
    namespace(index) {
      const name = `sl-${run}-${index}`
      const [outside, inside] = [`slo-${run}-${index}`, `sli-${run}-${index}`]
      names.push(name)
      ip('netns', 'add', name)
      ip('link', 'add', outside, 'type', 'veth', 'peer', 'name', inside)
      ip('link', 'set', outside, 'master', bridge, 'up')
      ip('link', 'set', inside, 'netns', name)
      ip('-n', name, 'addr', 'add', `${prefix}.${index + 10}/24`, 'dev', inside)
      ip('-n', name, 'link', 'set', inside, 'up')
      ip('-n', name, 'link', 'set', 'lo', 'up')
      // `ip netns exec` would hide the control groups.
      return ['nsenter', `--net=/run/netns/${name}`]
    },
    [Symbol.dispose]() {
      for (const name of names) if (existsSync(`/run/netns/${name}`)) ip('netns', 'delete', name)
      ip('link', 'delete', bridge)
    },
  }
}

const bridgeOf = (range: number): string => `slb-${range}`

/** Several houses stand at the same time: a range is whose bridge has its name, which the kernel gives once. */
function claimRange(add: (bridge: string) => void): number {
  const first = randomInt(RANGES)
  for (let tried = 0; ; tried++) {
    const range = (first + tried) % RANGES
    try {
      add(bridgeOf(range))
      return range
    } catch (error) {
      // Any other failure would be the same for the next one.
      if (!existsSync(`/sys/class/net/${bridgeOf(range)}`) || tried === RANGES) throw error
    }
  }
}

const RANGES = 256
