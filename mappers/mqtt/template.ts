import { SluiceError } from '../../api/errors.ts'
import type { Json } from '../../api/resources.ts'
import { filterProblem, topicProblem } from '../sdk/topic-filter.ts'

/** What topics and payloads of a device are filled with. */
export class Names {
  readonly #names: Readonly<Record<string, string>>

  constructor(names: {
    readonly base: string
    readonly device: string
    readonly client: string
    readonly name: string
  }) {
    this.#names = names
  }

  fill(template: string): string {
    return template.replaceAll(/\{(base|device|client|name)\}/g, (_, key: string) => this.#names[key]!)
  }
}

/** @throws SluiceError `SLUICE_MQTT_BINDING` when the result is no topic (or filter, where wildcards are allowed). */
export function fillTopic(template: string, names: Names, wildcards: boolean): string {
  const topic = names.fill(template)
  const unknown = /\{\w+\}/.exec(topic)?.[0]
  const problem =
    unknown === undefined
      ? wildcards
        ? filterProblem(topic)
        : topicProblem(topic)
      : `${unknown} is none of {base}, {device}, {client}, {name}`
  if (problem === undefined) return topic
  throw new SluiceError('SLUICE_MQTT_BINDING', `the topic '${topic.slice(0, 100)}' cannot be used: ${problem}`, {
    hint: 'Check the topic in the model and base and device in the address.',
  })
}

/** The payload of a command: `{value}`, `{json}` and `{id}` filled in. */
export function fillPayload(template: string, value: Json, id: number): string {
  return template.replaceAll(/\{(value|json|id)\}/g, (_, key: string) =>
    key === 'id' ? String(id) : key === 'value' && typeof value === 'string' ? value : JSON.stringify(value),
  )
}
