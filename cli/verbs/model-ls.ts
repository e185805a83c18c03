import { catalogueFiles, evidenceText, readCatalogue } from '../catalogue.ts'
import { type Column, printable, table } from '../text.ts'
import { defineVerb, EXIT } from '../verb.ts'

const COLUMNS: readonly Column[] = [
  { title: 'MODEL' },
  { title: 'VENDOR' },
  { title: 'PROTOCOL' },
  { title: 'PROPERTIES', align: 'right' },
  { title: 'TESTED-WITH' },
  { title: 'DESCRIPTION', flexible: true },
]

export const modelLs = defineVerb({
  name: 'model ls',
  summary: 'The models that come with Sluice',
  description:
    'Lists the catalogue. Every word given has to occur in the name, the vendor or the description of a model. The ' +
    'name is what other verbs take: sluice model show, sluice up --model, sluice device import --model. TESTED-WITH says what ' +
    'bytes prove the model: recorded from a device, documented in public, or constructed by hand from the published ' +
    'addresses and types; try a constructed one on your device before you trust it.',
  positionals: { usage: '[WORD...]', min: 0, max: 20 },
  options: {
    protocol: { kind: 'text', value: 'NAME', help: 'Only models of this protocol: modbus, lora, ble, mqtt.' },
  },
  examples: [
    { command: 'sluice model ls', says: 'All of them' },
    { command: 'sluice model ls meter three-phase --protocol modbus', says: 'Those with both words' },
    { command: 'sluice model ls --json | jq .items[].name', says: 'One object: {items: [{name, vendor, ...}]}' },
  ],
  async run({ options, args, out }) {
    const words = args.map((word) => word.toLowerCase())
    const found = readCatalogue().filter(({ name, model, protocols }) => {
      if (options.protocol !== undefined && !protocols.includes(options.protocol)) return false
      const text = `${name} ${model.spec.vendor} ${model.spec.description}`.toLowerCase()
      return words.every((word) => text.includes(word))
    })
    if (out.json) {
      out.value({
        items: found.map(({ name, model, protocols, evidence }) => ({
          name,
          model: model.metadata.name,
          vendor: model.spec.vendor,
          description: model.spec.description,
          protocols,
          evidence,
          properties: model.spec.properties.map((property) => property.name),
          source: model.spec.source,
        })),
      })
      return EXIT.ok
    }
    const rows = found.map(({ name, model, protocols, evidence }) => [
      out.style.bold(name),
      printable(model.spec.vendor ?? ''),
      protocols.join(', '),
      String(model.spec.properties.length),
      evidenceText(evidence),
      printable(model.spec.description ?? ''),
    ])
    if (rows.length > 0) for (const line of table(COLUMNS, rows, out.width, out.style.dim)) out.line(line)
    else out.note(`None of the ${catalogueFiles().length} models fits. 'sluice model new' writes one of your own.`)
    return EXIT.ok
  },
})
