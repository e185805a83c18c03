import { formatFindings } from '../../api/yaml/report.ts'
import { readModelFiles } from '../model-files.ts'
import { defineVerb, EXIT } from '../verb.ts'

export const importKubeEdge = defineVerb({
  name: 'import kubeedge',
  summary: "KubeEdge's Device and DeviceModel manifests as Sluice's",
  description:
    'Reads devices.kubeedge.io/v1beta1 and v1alpha2 (Modbus and Bluetooth) and prints DeviceModels and Devices of ' +
    'sluice.dev/v1alpha1. In KubeEdge a device says where its properties live, here its model does: devices that say the ' +
    'same share one model. What cannot be carried over is told with file, line and field, and then nothing is printed. ' +
    'Other verbs (up -f, agent, model lint, model show) read such manifests as they are; this one is for whoever wants to ' +
    'keep the result.',
  positionals: { usage: 'FILE...', min: 1, max: 1000 },
  options: {},
  examples: [
    { command: 'sluice import kubeedge model.yaml device.yaml > site.yaml', says: 'Models and their devices together' },
    {
      command: 'kubectl get devicemodels,devices -o yaml | sluice import kubeedge -',
      says: 'Out of a running KubeEdge',
    },
    { command: 'sluice import kubeedge *.yaml --json', says: 'One object: {items: [...]}' },
  ],
  async run({ args, out }) {
    const { resources, findings, sources } = await readModelFiles(args)
    const failed = findings.some(({ severity }) => severity === 'error')
    const told = findings.filter(({ severity, code }) => severity === 'error' || code.startsWith('SLUICE_KUBEEDGE'))
    if (told.length > 0) out.note(formatFindings(told, { sources }))
    if (failed) return EXIT.usage
    if (out.json) out.value({ items: resources })
    else {
      const { stringify } = await import('yaml')
      for (const resource of resources) out.raw(`---\n${stringify(resource, { lineWidth: 0 })}`)
    }
    return EXIT.ok
  },
})
