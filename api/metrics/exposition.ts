import type { Histogram } from './histogram.ts'

export type Labels = Readonly<Record<string, string>>

/** Builds a page in the Prometheus text format, version 0.0.4. */
export class Exposition {
  readonly #lines: string[] = []

  gauge(name: string, help: string, samples: number | Iterable<readonly [Labels, number]>): this {
    return this.#family('gauge', name, help, samples)
  }

  counter(name: string, help: string, samples: number | Iterable<readonly [Labels, number]>): this {
    return this.#family('counter', name, help, samples)
  }

  /** `scale` turns the histogram's unit into the metric's, for example 0.001 for milliseconds into seconds. */
  histogram(name: string, help: string, histogram: Histogram, scale: number): this {
    this.#head('histogram', name, help)
    histogram.bounds.forEach((bound, i) => {
      this.#lines.push(`${name}_bucket{le="${bound * scale}"} ${histogram.counts[i]}`)
    })
    this.#lines.push(`${name}_bucket{le="+Inf"} ${histogram.count}`)
    this.#lines.push(`${name}_sum ${histogram.sum * scale}`, `${name}_count ${histogram.count}`)
    return this
  }

  toString(): string {
    return `${this.#lines.join('\n')}\n`
  }

  #family(type: string, name: string, help: string, samples: number | Iterable<readonly [Labels, number]>): this {
    this.#head(type, name, help)
    if (typeof samples === 'number') this.#lines.push(`${name} ${samples}`)
    else for (const [labels, value] of samples) this.#lines.push(`${name}${labelText(labels)} ${value}`)
    return this
  }

  #head(type: string, name: string, help: string): void {
    this.#lines.push(
      `# HELP ${name} ${help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}`,
      `# TYPE ${name} ${type}`,
    )
  }
}

function labelText(labels: Labels): string {
  let text = ''
  for (const name in labels) text += `${text === '' ? '{' : ','}${name}="${escapeLabel(labels[name]!)}"`
  return text === '' ? '' : `${text}}`
}

/** Most values need none of it, and a page has thousands. */
const NEEDS_ESCAPE = /[\\"\n]/

const escapeLabel = (value: string): string =>
  NEEDS_ESCAPE.test(value) ? value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n') : value
