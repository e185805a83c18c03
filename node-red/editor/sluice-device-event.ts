import { preparePickers } from './pickers.ts'

RED.nodes.registerType('sluice-device-event', {
  category: 'Sluice',
  color: '#c3d69b',
  icon: 'font-awesome/fa-heartbeat',
  defaults: {
    name: { value: '' },
    gateway: { value: '', type: 'sluice-gateway', required: true },
    kind: { value: 'reach' },
    device: { value: '' },
    model: { value: '' },
    every: { value: false },
  },
  inputs: 0,
  outputs: 1,
  paletteLabel: 'device event',
  label() {
    return this.name || String(this['device'] || this['model'] || 'device event').replace(/^default\//, '')
  },
  labelStyle() {
    return this.name ? 'node_label_italic' : ''
  },
  oneditprepare() {
    preparePickers(this, { device: true, model: true, anyKey: 'picker.anyDevice' })
    const kind = document.getElementById('node-input-kind')
    const about = document.getElementById('sluice-about-devices')
    if (!(kind instanceof HTMLSelectElement) || about === null) return
    // A flow of an earlier release does not know the field.
    if (kind.value === '') kind.value = 'reach'
    const show = () => {
      about.hidden = kind.value === 'discovered'
    }
    kind.addEventListener('change', show)
    show()
  },
})
