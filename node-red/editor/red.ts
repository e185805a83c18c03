/**
 * What the dialogs use of Node-RED's editor API (versions 4 and 5), and no more of it.
 * Source: the pages "Node properties", "Node edit dialog" and "TypedInput widget" of Node-RED's documentation.
 */
export interface Property {
  readonly value: unknown
  readonly required?: boolean
  readonly type?: string
  readonly validate?: (this: EditedNode, value: unknown) => boolean | string
}

/** A node as it is being edited: its properties by name. */
export interface EditedNode {
  readonly id: string
  readonly type: string
  readonly name?: string
  readonly [property: string]: unknown
  _(key: string, values?: Readonly<Record<string, unknown>>): string
}

export interface Definition {
  readonly category: string
  readonly color?: string
  readonly icon?: string
  readonly align?: 'left' | 'right'
  readonly defaults: Readonly<Record<string, Property>>
  readonly credentials?: Readonly<Record<string, { readonly type: 'text' | 'password' }>>
  readonly inputs?: number
  readonly outputs?: number
  readonly paletteLabel?: string | ((this: EditedNode) => string)
  readonly label?: (this: EditedNode) => string
  readonly labelStyle?: (this: EditedNode) => string
  readonly inputLabels?: string
  readonly outputLabels?: (this: EditedNode, index: number) => string
  readonly oneditprepare?: (this: EditedNode) => void
  readonly oneditsave?: (this: EditedNode) => void
}

declare global {
  const RED: {
    readonly nodes: { registerType(type: string, definition: Definition): void }
    readonly settings: { readonly apiRootUrl?: string }
  }
}
