import type { Verb } from './verb.ts'

/** A verb as the overview lists it; its file is read only when it is asked for. */
export interface VerbEntry {
  readonly name: string
  readonly summary: string
  load(): Promise<Verb>
}

export interface VerbGroup {
  readonly title: string
  readonly verbs: readonly VerbEntry[]
}

/** Every verb of the command, in the order of the overview. */
export const VERB_GROUPS: readonly VerbGroup[] = [
  {
    title: 'Run',
    verbs: [
      {
        name: 'up',
        summary: 'Cloud core and agent in one go, under one folder',
        load: async () => (await import('./verbs/up.ts')).up,
      },
      {
        name: 'cloud',
        summary: 'The cloud core alone',
        load: async () => (await import('./verbs/cloud.ts')).cloud,
      },
      {
        name: 'agent',
        summary: 'The agent of a gateway alone',
        load: async () => (await import('./verbs/agent.ts')).agent,
      },
      {
        name: 'uplink',
        summary: 'Show the gateways of this cloud core to a higher one as one node',
        load: async () => (await import('./verbs/uplink.ts')).uplink,
      },
      {
        name: 'console',
        summary: 'The web console: an address, and a code that signs in once',
        load: async () => (await import('./verbs/console.ts')).consoleVerb,
      },
      {
        name: 'nodered',
        summary: 'Node-RED beside the agent, with nodes for its twins',
        load: async () => (await import('./verbs/nodered.ts')).nodered,
      },
    ],
  },
  {
    title: 'Devices',
    verbs: [
      {
        name: 'device ls',
        summary: 'Every device with its newest values',
        load: async () => (await import('./verbs/device-ls.ts')).deviceLs,
      },
      {
        name: 'device get',
        summary: 'One device, or one value of it',
        load: async () => (await import('./verbs/device-get.ts')).deviceGet,
      },
      {
        name: 'device set',
        summary: 'Write values and wait until they are applied or refused',
        load: async () => (await import('./verbs/device-set.ts')).deviceSet,
      },
      {
        name: 'device watch',
        summary: 'Follow values, writes and reachability as they change',
        load: async () => (await import('./verbs/device-watch.ts')).deviceWatch,
      },
      {
        name: 'device import',
        summary: 'Many devices at once, from a table (CSV)',
        load: async () => (await import('./verbs/device-import.ts')).deviceImport,
      },
      {
        name: 'discover',
        summary: 'What gateways see that nobody configured',
        load: async () => (await import('./verbs/discover.ts')).discover,
      },
      {
        name: 'discover modbus',
        summary: 'Ask a serial line or a host who is there, unit by unit',
        load: async () => (await import('./verbs/discover-modbus.ts')).discoverModbus,
      },
      {
        name: 'discover mdns',
        summary: 'Ask the network who announces something that Sluice speaks',
        load: async () => (await import('./verbs/discover-mdns.ts')).discoverMdns,
      },
      {
        name: 'discover order',
        summary: 'A Modbus value in every word order and type, to find the right one',
        load: async () => (await import('./verbs/discover-order.ts')).discoverOrder,
      },
      {
        name: 'discover approve',
        summary: 'Make a device of something that was discovered',
        load: async () => (await import('./verbs/discover-approve.ts')).discoverApprove,
      },
      {
        name: 'discover policy explain',
        summary: 'What the policies would make of what is seen, and why',
        load: async () => (await import('./verbs/discover-policy-explain.ts')).discoverPolicyExplain,
      },
      {
        name: 'plan',
        summary: 'How the gateway reads a device, drawn, and why',
        load: async () => (await import('./verbs/plan.ts')).plan,
      },
      {
        name: 'status',
        summary: 'Agent, cloud, links and devices in a few lines',
        load: async () => (await import('./verbs/status.ts')).status,
      },
    ],
  },
  {
    title: 'Energy and link',
    verbs: [
      {
        name: 'energy top',
        summary: 'Who takes how much power at this gateway, live',
        load: async () => (await import('./verbs/energy-top.ts')).energyTop,
      },
      {
        name: 'energy status',
        summary: 'Where the power figures come from, and what is missing',
        load: async () => (await import('./verbs/energy-status.ts')).energyStatus,
      },
      {
        name: 'energy calibrate',
        summary: 'Fit the power model of this gateway to a meter',
        load: async () => (await import('./verbs/energy-calibrate.ts')).energyCalibrate,
      },
      {
        name: 'link',
        summary: 'Round trip, loss and signal: to the hub and to every device',
        load: async () => (await import('./verbs/link.ts')).link,
      },
      {
        name: 'notices',
        summary: 'What went wrong with devices and the gateway, counted, the newest first',
        load: async () => (await import('./verbs/notices.ts')).notices,
      },
      {
        name: 'policy explain',
        summary: 'What each stage of a gateway policy would do to each device',
        load: async () => (await import('./verbs/policy-explain.ts')).policyExplain,
      },
    ],
  },
  {
    title: 'Models',
    verbs: [
      {
        name: 'model ls',
        summary: 'The models that come with Sluice',
        load: async () => (await import('./verbs/model-ls.ts')).modelLs,
      },
      {
        name: 'import kubeedge',
        summary: "KubeEdge's Device and DeviceModel manifests as Sluice's",
        load: async () => (await import('./verbs/import-kubeedge.ts')).importKubeEdge,
      },
      {
        name: 'model new',
        summary: 'Write a model of your own, by questions or by options',
        load: async () => (await import('./verbs/model-new.ts')).modelNew,
      },
      {
        name: 'model lint',
        summary: 'Check model and device files; every finding with its place',
        load: async () => (await import('./verbs/model-lint.ts')).modelLint,
      },
      {
        name: 'model show',
        summary: 'The properties of a model as a table',
        load: async () => (await import('./verbs/model-show.ts')).modelShow,
      },
      {
        name: 'crds',
        summary: 'The CustomResourceDefinitions for a cluster of your own',
        load: async () => (await import('./verbs/crds.ts')).crds,
      },
    ],
  },
  {
    title: 'Pods',
    verbs: [
      {
        name: 'explain',
        summary: 'Why a pod is where it is, or nowhere, candidate by candidate',
        load: async () => (await import('./verbs/explain.ts')).explain,
      },
      {
        name: 'offload',
        summary: 'Move a pod to a gateway by hand',
        load: async () => (await import('./verbs/offload.ts')).offload,
      },
    ],
  },
  {
    title: 'Gateways',
    verbs: [
      {
        name: 'token create',
        summary: 'A single-use token with which one gateway may join',
        load: async () => (await import('./verbs/token-create.ts')).tokenCreate,
      },
      {
        name: 'token ls',
        summary: 'The tokens there are: for whom, until when, used or not',
        load: async () => (await import('./verbs/token-ls.ts')).tokenLs,
      },
      {
        name: 'token revoke',
        summary: 'Make tokens worthless that nobody has used yet',
        load: async () => (await import('./verbs/token-revoke.ts')).tokenRevoke,
      },
      {
        name: 'join',
        summary: 'Give this gateway its certificate, by a token',
        load: async () => (await import('./verbs/join.ts')).join,
      },
      {
        name: 'gateway revoke',
        summary: 'Shut a lost or stolen gateway out',
        load: async () => (await import('./verbs/gateway-revoke.ts')).gatewayRevoke,
      },
      {
        name: 'mqtt passwd',
        summary: "A user of the gateway's own MQTT broker: password and rights",
        load: async () => (await import('./verbs/mqtt-passwd.ts')).mqttPasswd,
      },
    ],
  },
  {
    title: 'Firmware',
    verbs: [
      {
        name: 'fw init',
        summary: 'Begin the firmware of a board: a model, a board, an application',
        load: async () => (await import('./verbs/fw-init.ts')).fwInit,
      },
      {
        name: 'fw validate',
        summary: 'Check whether a board can be made of a model; writes nothing',
        load: async () => (await import('./verbs/fw-validate.ts')).fwValidate,
      },
      {
        name: 'fw gen',
        summary: "Write the C, the register map and the gateway's YAML of a model",
        load: async () => (await import('./verbs/fw-gen.ts')).fwGen,
      },
      {
        name: 'fw build',
        summary: 'Generate and compile the firmware of a board',
        load: async () => (await import('./verbs/fw-build.ts')).fwBuild,
      },
      {
        name: 'fw size',
        summary: 'What the firmware takes of its board, and what takes most',
        load: async () => (await import('./verbs/fw-size.ts')).fwSize,
      },
      {
        name: 'fw emulate',
        summary: 'Generate, build and run a board here, with an agent that reads it',
        load: async () => (await import('./verbs/fw-emulate.ts')).fwEmulate,
      },
      {
        name: 'fw test',
        summary: 'Emulate a board and try every property against its model',
        load: async () => (await import('./verbs/fw-test.ts')).fwTest,
      },
      {
        name: 'fw monitor',
        summary: 'Follow the values of a board on a serial port, without an agent',
        load: async () => (await import('./verbs/fw-monitor.ts')).fwMonitor,
      },
      {
        name: 'fw sign',
        summary: 'Build, sign and check the images of both slots',
        load: async () => (await import('./verbs/fw-sign.ts')).fwSign,
      },
      {
        name: 'fw key new',
        summary: 'A key to sign firmware with',
        load: async () => (await import('./verbs/fw-key-new.ts')).fwKeyNew,
      },
      {
        name: 'fw key rotate',
        summary: 'Make the next key, or move on to it',
        load: async () => (await import('./verbs/fw-key-rotate.ts')).fwKeyRotate,
      },
      {
        name: 'fw flash',
        summary: 'Bring firmware onto a board that is plugged in',
        load: async () => (await import('./verbs/fw-flash.ts')).fwFlash,
      },
      {
        name: 'fw recover',
        summary: 'Look into a board that does not come up, and bring an image onto it',
        load: async () => (await import('./verbs/fw-recover.ts')).fwRecover,
      },
      {
        name: 'fw ota',
        summary: 'Update boards behind a gateway over the line they are polled on',
        load: async () => (await import('./verbs/fw-ota.ts')).fwOta,
      },
    ],
  },
  {
    title: 'Machines',
    verbs: [
      {
        name: 'flash gateway',
        summary: 'Write a card that boots into the fleet',
        load: async () => (await import('./verbs/flash-gateway.ts')).flashGateway,
      },
      {
        name: 'flash ls',
        summary: 'The disks an image can be written to, and why not to the others',
        load: async () => (await import('./verbs/flash-ls.ts')).flashLs,
      },
      {
        name: 'flash bundle',
        summary: 'Everything a gateway needs to run Sluice, in one file for a card',
        load: async () => (await import('./verbs/flash-bundle.ts')).flashBundle,
      },
      {
        name: 'install',
        summary: 'Run the agent as a service of this machine, now and after every boot',
        load: async () => (await import('./verbs/install.ts')).install,
      },
      {
        name: 'uninstall',
        summary: 'Remove the agent that was installed as a service',
        load: async () => (await import('./verbs/uninstall.ts')).uninstall,
      },
    ],
  },
  {
    title: 'Trouble',
    verbs: [
      {
        name: 'doctor',
        summary: 'Check this machine; says what is wrong and what to type',
        load: async () => (await import('./verbs/doctor.ts')).doctor,
      },
    ],
  },
]

export const ALL_VERBS: readonly VerbEntry[] = VERB_GROUPS.flatMap((group) => group.verbs)
