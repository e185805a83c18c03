import type { Static } from 'typebox'
import { ON_LOSS, TETHER_STATES } from '../tether/tether.ts'
import { NODE_CONDITIONS } from './node-conditions.ts'
import {
  condition,
  duration,
  integer,
  type KubeObject,
  keyedList,
  listOf,
  number,
  object,
  optional,
  text,
  timestamp,
  word,
} from './parts.ts'
import { gatewayPolicy, policyStatus } from './policy.ts'
import { batteryStatus, energyStatus, networkStatus, powerStatus, thermalStatus } from './power.ts'

/** A positive Kubernetes quantity. */
const QUANTITY = '^[0-9]+([.][0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$'

export const gatewaySpec = () =>
  object({
    mode: optional(
      word(['autonomous', 'tethered'], {
        default: 'autonomous',
        description: 'Whether the gateway decides for itself while the link is down.',
      }),
    ),
    tether: optional(
      object(
        {
          lease: optional(
            duration({ description: 'How long a tethered gateway is led by one word of the supernode. Default 30s.' }),
          ),
          grace: optional(
            duration({ description: 'How long its work goes on after the lease, before onLoss. Default 60s.' }),
          ),
          onLoss: optional(
            word(ON_LOSS, {
              default: 'keep',
              description: 'What becomes of its work when the supernode stays silent.',
            }),
          ),
        },
        { description: 'Of a tethered gateway: see docs/tether.md.' },
      ),
    ),
    pods: optional(
      object(
        {
          max: optional(integer({ minimum: 0, maximum: 10_000, description: 'Pods at a time.' })),
          cpu: optional(text({ maxLength: 32, pattern: QUANTITY, description: 'Processor in all: 1500m, 2.' })),
          memory: optional(text({ maxLength: 32, pattern: QUANTITY, description: 'Memory in all: 512Mi, 1Gi.' })),
        },
        { description: 'What pods may take of this gateway at most. Default: what its machine has.' },
      ),
    ),
    heartbeat: optional(duration({ description: 'Link heartbeat. Default 15s.' })),
    description: optional(text()),
    energy: optional(gatewayEnergy()),
    policy: optional(gatewayPolicy()),
    taints: optional(
      listOf(word(NODE_CONDITIONS), { maxItems: 4, description: 'Conditions that also taint the Node: NoSchedule.' }),
    ),
  })

/** Where the gateway's power figures come from, when it is not what its own sensors say. */
const gatewayEnergy = () =>
  object({
    meter: optional(
      object(
        {
          device: text({ maxLength: 320, description: 'A Device this gateway serves, as namespace/name.' }),
          power: optional(text({ maxLength: 63, description: 'Its property in W. Default: the one with role power.' })),
          energy: optional(
            text({ maxLength: 63, description: 'Its counter in J, Wh or kWh. Default: the one with role energy.' }),
          ),
        },
        { description: 'A meter whose twin is the power source of this gateway.' },
      ),
    ),
    battery: optional(
      object(
        { device: text({ maxLength: 320 }), percent: optional(text({ maxLength: 63 })) },
        { description: 'A battery behind a Device, such as a UPS or a solar charge controller.' },
      ),
    ),
    idle: optional(
      word(['system', 'share'], {
        default: 'system',
        description: 'Idle energy stays with the system, or is shared among workloads by their use.',
      }),
    ),
    capacityJ: optional(number({ minimum: 0, description: 'Usable energy of a battery that does not say it itself.' })),
    ipmi: optional(
      object(
        {
          host: optional(
            text({ maxLength: 253, description: 'A BMC on the network. Default: the one of this machine.' }),
          ),
          port: optional(integer({ minimum: 1, maximum: 65_535 })),
          user: optional(text({ maxLength: 64 })),
          passwordFile: optional(
            text({ maxLength: 1024, description: 'File on the gateway with the password in its first line.' }),
          ),
          sensor: optional(
            text({ maxLength: 64, description: 'A sensor in watts, where the BMC has no DCMI power reading.' }),
          ),
        },
        { description: 'A management controller that measures the power of this machine.' },
      ),
    ),
    carbon: optional(
      object(
        {
          gPerKWh: optional(number({ minimum: 0, maximum: 10_000, description: 'Of a supply that never changes.' })),
          file: optional(text({ maxLength: 1024, description: 'File on the gateway, read again when it changes.' })),
          url: optional(text({ maxLength: 2048, description: 'Asked every 15 minutes.' })),
          topic: optional(text({ maxLength: 512, description: 'MQTT topic of the broker of this gateway.' })),
        },
        {
          description:
            'Carbon intensity of the supply: a number, or JSON with g/kWh by hour: [{"at": "2026-01-01T00:00Z", "gPerKWh": 210}].',
        },
      ),
    ),
  })

export const gatewayStatus = () =>
  object({
    state: optional(word(['online', 'offline', 'unknown', 'neverJoined'])),
    conditions: optional(keyedList(condition(), 'type', { maxItems: 16 })),
    lastSeen: optional(timestamp()),
    connectedSince: optional(timestamp()),
    agentVersion: optional(text({ maxLength: 64 })),
    epoch: optional(text({ maxLength: 64, description: "Identity of the agent's store; changes when it is lost." })),
    certificateExpires: optional(timestamp()),
    devices: optional(
      object({
        total: integer({ minimum: 0 }),
        online: integer({ minimum: 0 }),
        offline: integer({ minimum: 0 }),
      }),
    ),
    outbox: optional(
      object({
        batches: integer({ minimum: 0 }),
        bytes: integer({ minimum: 0 }),
        droppedValues: integer({ minimum: 0 }),
        oldestAt: optional(timestamp()),
      }),
    ),
    link: optional(
      object({
        roundTripMs: optional(number({ minimum: 0 })),
        reconnects: optional(integer({ minimum: 0 })),
        gapsSeen: optional(integer({ minimum: 0 })),
        jitterMs: optional(number({ minimum: 0 })),
        lossRatio: optional(number({ minimum: 0, maximum: 1, description: 'Share of pings that nobody answered.' })),
        quality: optional(
          number({ minimum: 0, maximum: 1, description: 'Of the way to the hub: the interface, round trip and loss.' }),
        ),
        trend: optional(word(['improving', 'steady', 'degrading'])),
      }),
    ),
    tether: optional(
      object(
        {
          state: word(TETHER_STATES),
          since: optional(timestamp()),
          term: optional(integer({ minimum: 0, description: 'Of the supernode that leads; it only grows.' })),
          onLoss: optional(word(ON_LOSS)),
          releasedAt: optional(
            timestamp({ description: 'From then on its work may begin elsewhere. Absent: never by itself.' }),
          ),
        },
        { description: 'Who decides for it, as the supernode knows it: see docs/tether.md.' },
      ),
    ),
    power: optional(powerStatus()),
    energy: optional(energyStatus()),
    battery: optional(batteryStatus()),
    thermal: optional(thermalStatus()),
    networks: optional(keyedList(networkStatus(), 'name', { maxItems: 32 })),
    policy: optional(policyStatus()),
    summary: optional(
      object(
        {
          battery: optional(text({ maxLength: 64 })),
          power: optional(text({ maxLength: 64 })),
          link: optional(text({ maxLength: 64 })),
        },
        { description: 'In words, for kubectl get; a `~` says estimated.' },
      ),
    ),
    supernodes: optional(
      listOf(text({ maxLength: 64 }), {
        maxItems: 64,
        description: 'It is a supernode: its id, then those of the supernodes beneath it. See docs/scheduling.md.',
      }),
    ),
    agent: optional(object({ rssBytes: optional(integer({ minimum: 0 })), uptimeS: optional(number({ minimum: 0 })) })),
  })

export type GatewaySpec = Static<ReturnType<typeof gatewaySpec>>
export type GatewayStatus = Static<ReturnType<typeof gatewayStatus>>
export type Gateway = KubeObject<GatewaySpec, GatewayStatus>
