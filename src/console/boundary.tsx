import type { ReactNode } from "react";
import { Component } from "react";

interface BoundaryProps {
  readonly instead: ReactNode;
  readonly children: ReactNode;
}

/** What cannot be shown as it is meant does not take the page with it. */
export class Boundary extends Component<BoundaryProps, { readonly failed: boolean }> {
  override state = { failed: false };

  static getDerivedStateFromError(): { failed: boolean } {
    return { failed: true };
  }

  override render(): ReactNode {
    return this.state.failed ? this.props.instead : this.props.children;
  }
}
