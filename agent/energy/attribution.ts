/** What one consumer did in an interval. */
export interface Use {
  readonly cpuS: number
  readonly networkBytes?: number
  readonly storageBytes?: number
  readonly memoryBytes?: number
}

/** What a unit of each use costs, joules; only the proportions matter, for the parts are scaled to the whole. */
export interface Weights {
  readonly jPerCpuS: number
  readonly jPerNetworkByte: number
  readonly jPerStorageByte: number
  /** A line driver while it sends and listens, watts. */
  readonly busWatts: number
  /** A radio while it sends, watts. */
  readonly airtimeWatts: number
  /** Processor time of one reading, seconds. */
  readonly cpuSPerRead: number
}

export interface DeviceUse {
  readonly busyS: number
  readonly reads: number
  readonly airtimeS: number
  readonly bytes: number
}

export interface AttributionInput {
  /** Energy of the whole machine in the interval, joules, at least 0. */
  readonly wholeJ: number
  /** Of it, what the machine takes for being switched on. */
  readonly idleJ: number
  /** Of it, what the memory was measured to take; 0 where it was not. */
  readonly memoryJ: number
  readonly policy: 'system' | 'share'
  /** What the whole machine did. */
  readonly machine: Use
  /** Pods and slices, none inside another. */
  readonly consumers: ReadonlyMap<string, Use>
  /** The agent itself, not part of any consumer. */
  readonly agent: Use
  readonly devices: readonly DeviceUse[]
  readonly weights: Weights
}

export interface Attribution {
  readonly idleJ: number
  readonly restJ: number
  readonly consumersJ: ReadonlyMap<string, number>
  readonly agentJ: number
  /** Of `agentJ`: its own work, and each device. */
  readonly ownJ: number
  readonly devicesJ: readonly number[]
}

/**
 * Divides the energy of an interval. Idle energy is the system's, or with policy `share` everybody's by use; measured
 * memory energy goes by memory held; all else by weighted use of processor, network and storage. What nobody accounts
 * for is `rest`. `idle + rest + consumers + agent` is the whole, and `own + devices` is the agent.
 */
export function attribute(input: AttributionInput): Attribution {
  const { consumers, agent, devices, weights, machine } = input
  const wholeJ = sane(input.wholeJ)
  const idleJ = Math.min(wholeJ, sane(input.idleJ))
  const memoryJ = Math.min(wholeJ - idleJ, sane(input.memoryJ))
  const activeJ = wholeJ - idleJ - memoryJ

  const fieldScores = devices.map((device) => fieldScoreOf(device, weights))
  const fieldScore = sum(fieldScores)
  const agentCpuScore = scoreOf(agent, weights)
  const agentScore = agentCpuScore + fieldScore
  const scores = [...consumers.values()].map((use) => scoreOf(use, weights))
  const consumersScore = sum(scores)
  // Counters of parts are read a moment after the whole's and may together exceed it: then nothing is left over.
  // What devices sent over a network is in the machine's traffic already; their lines and radios are not.
  const onNetwork = sum(devices.map(({ bytes }) => sane(bytes))) * weights.jPerNetworkByte
  const wholeScore = Math.max(scoreOf(machine, weights) + fieldScore - onNetwork, consumersScore + agentScore)

  const memories = [...consumers.values()].map(({ memoryBytes }) => sane(memoryBytes))
  const agentMemory = sane(agent.memoryBytes)
  const heldBytes = Math.max(sane(machine.memoryBytes), sum(memories) + agentMemory)

  const idleToShare = input.policy === 'share' && wholeScore > 0 ? idleJ : 0
  const byScore = (score: number) => (wholeScore > 0 ? (score / wholeScore) * (activeJ + idleToShare) : 0)
  const byMemory = (bytes: number) => (heldBytes > 0 ? (bytes / heldBytes) * memoryJ : 0)

  const consumersJ = new Map<string, number>()
  let givenJ = 0
  let i = 0
  for (const key of consumers.keys()) {
    const joules = byScore(scores[i]!) + byMemory(memories[i]!)
    consumersJ.set(key, joules)
    givenJ += joules
    i++
  }
  const agentJ = byScore(agentScore) + byMemory(agentMemory)
  // Nothing did anything, and yet energy was spent: that is being switched on, too.
  const unexplainedJ = wholeScore > 0 ? 0 : activeJ
  const ownIdleJ = idleJ - idleToShare + unexplainedJ
  const restJ = Math.max(0, wholeJ - ownIdleJ - agentJ - givenJ)
  return {
    idleJ: ownIdleJ,
    restJ,
    consumersJ,
    agentJ,
    ...divideAgent(input, agentJ, agentScore, agentCpuScore, fieldScores),
  }
}

/** The agent's part among its devices: their time on the wire and in the air, and the processor time of their readings. */
function divideAgent(
  { devices, weights }: AttributionInput,
  agentJ: number,
  agentScore: number,
  agentCpuScore: number,
  fieldScores: readonly number[],
): Pick<Attribution, 'ownJ' | 'devicesJ'> {
  if (agentScore <= 0) return { ownJ: agentJ, devicesJ: devices.map(() => 0) }
  const readScores = devices.map(({ reads }) => sane(reads) * weights.cpuSPerRead * weights.jPerCpuS)
  const readScore = sum(readScores)
  // Readings cannot have taken more of the processor than the agent did.
  const fit = readScore > agentCpuScore ? agentCpuScore / readScore : 1
  const devicesJ = devices.map((_, i) => ((fieldScores[i]! + readScores[i]! * fit) / agentScore) * agentJ)
  return { ownJ: Math.max(0, agentJ - sum(devicesJ)), devicesJ }
}

function scoreOf(use: Use, weights: Weights): number {
  return (
    sane(use.cpuS) * weights.jPerCpuS +
    sane(use.networkBytes) * weights.jPerNetworkByte +
    sane(use.storageBytes) * weights.jPerStorageByte
  )
}

/** What a device's use is worth beside that of other devices. */
export function deviceScore(use: DeviceUse, weights: Weights): number {
  return fieldScoreOf(use, weights) + sane(use.reads) * weights.cpuSPerRead * weights.jPerCpuS
}

/** Outside of the processor: a line driver, a radio, a network interface. */
const fieldScoreOf = ({ busyS, airtimeS, bytes }: DeviceUse, weights: Weights): number =>
  sane(busyS) * weights.busWatts + sane(airtimeS) * weights.airtimeWatts + sane(bytes) * weights.jPerNetworkByte

/** What a counter that runs backwards or a clock that stands still may produce is nothing. */
const sane = (value: number | undefined): number =>
  value !== undefined && Number.isFinite(value) && value > 0 ? value : 0

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)
